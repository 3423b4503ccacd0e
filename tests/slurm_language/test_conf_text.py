"""The .conf files' grammar, against a plain transcription of parse_config.c and against real files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpctools.errors import ParseError
from hpctools.slurm.conf_text import (
    Edit,
    IncludeLoop,
    apply,
    conf_hash,
    parse,
    quoted,
    remove_line,
    remove_pair,
    set_value,
)

# What the grammar treats in a special way, and a few letters.
TRICKY = st.text(alphabet=' \t\n\r\\#="aB1_.,+-*/\0', max_size=60)
LINES = st.lists(
    st.sampled_from(
        [
            "ClusterName=alpha",
            'Key="two words"',
            "NodeName=gpu[1-4] CPUs=8 \\",
            "  Gres=gpu:h100:8 # eight",
            "# only a comment",
            "#  ends in a backslash \\",
            "Reason=a\\#b",
            "Path=C:\\\\dir\\\\",
            "include other.conf",
            "",
            "\tA += b",
            "broken",
            "é=ü",
        ]
    ),
    max_size=8,
)
ENDS = st.sampled_from(["\n", "\r\n"])


def as_slurm_reads(text: str) -> list[tuple[int, str]]:
    """_get_next_line of parse_config.c: the number of each line's first, and what is left of it."""
    physical = re.findall(r"[^\n]*\n|[^\n]+", text)
    found, index = [], 0
    while index < len(physical):
        number, read = index + 1, ""
        while index < len(physical):
            piece = physical[index].split("\0")[0]
            index += 1
            escapes = 0
            for place, character in enumerate(piece):
                if character == "#" and escapes % 2 == 0:
                    piece = piece[:place]
                    break
                escapes = escapes + 1 if character == "\\" else 0
            bare = piece.rstrip(" \t\n\v\f\r")
            slashes = len(bare) - len(bare.rstrip("\\"))
            if slashes % 2 == 0:
                read += piece
                break
            read += bare[:-1]
        plain, place = "", 0
        while place < len(read):
            place += read[place] == "\\"
            plain += read[place : place + 1]
            place += 1
        found.append((number, plain))
    return found


def pairs_of(line: str) -> tuple[list[tuple[str, str, str]], str]:
    """s_p_parse_line with keyvalue_pattern, and what no pair is."""
    pattern = r'[ \t\n\v\f\r]*([A-Za-z0-9_.]+)[ \t\n\v\f\r]*([-*+/]?)=[ \t\n\v\f\r]*("[^"]*"|[^ \t\n\v\f\r]+)'
    found = []
    while match := re.match(pattern + r"(?=[ \t\n\v\f\r]|\Z)", line):
        value = match[3]
        if len(value) > 1 and value[0] == value[-1] == '"':
            value = value[1:-1]
        found.append((match[1], match[2], value))
        line = line[match.end() :]
    return found, line.strip(" \t\n\v\f\r")


def check_against_slurm(text: str) -> None:
    file = parse(text.encode("utf-8", "surrogateescape"))
    lines = {line.number: line for line in file.lines}
    for number, plain in as_slurm_reads(text):
        if not plain.strip(" \t\n\v\f\r"):
            assert number not in lines or not lines[number].pairs
            continue
        line = lines[number]
        include = re.match(r"include[ \t\n\v\f\r]+([^ \t\n\v\f\r]*)", plain, re.IGNORECASE)
        if include:
            assert line.include == include[1]
            continue
        expected, rest = pairs_of(plain)
        assert [(one.key, one.operator, one.value) for one in line.pairs] == expected
        assert line.rest == rest


@given(TRICKY)
@example('A="b c"d e=f')
@example("A=b\\\n c=d")
@example("A=b \\ \t\n#c\nd=e")
@example("\\\n\\\nA=1\\")
def test_any_text_is_read_as_slurm_reads_it(text: str) -> None:
    check_against_slurm(text)


@given(LINES, ENDS)
def test_likely_text_is_read_as_slurm_reads_it(lines: list[str], end: str) -> None:
    check_against_slurm(end.join(lines))
    check_against_slurm(end.join(lines) + end)


@given(st.binary(max_size=200))
def test_any_bytes_are_kept(data: bytes) -> None:
    assert parse(data).to_bytes() == data


def test_every_real_file_is_kept(corpus: Path) -> None:
    files = sorted((corpus / "slurm_conf").iterdir())
    assert len(files) > 200
    for path in files:
        assert parse(path.read_bytes(), str(path)).to_bytes() == path.read_bytes(), path.name


@given(LINES, ENDS, st.data())
def test_a_changed_value_changes_its_own_characters(lines: list[str], end: str, data: st.DataObject) -> None:
    text = end.join(lines)
    file = parse(text.encode())
    found = [pair for line in file.lines for pair in line.pairs]
    if not found:
        return
    index = data.draw(st.integers(0, len(found) - 1))
    value = data.draw(st.sampled_from(["1", "two words", "a#b", "C:\\dir", "", "gpu[1-2]"]))
    pair = found[index]
    edited = file.edited([set_value(pair, value)])
    assert edited.text.startswith(text[: pair.start])
    assert edited.text.endswith(text[pair.end :])
    after = [other for line in edited.lines for other in line.pairs]
    assert [other.value for other in after] == [value if one is pair else one.value for one in found]
    assert [other.key for other in after] == [one.key for one in found]


def test_a_pair_knows_where_it_stands() -> None:
    text = '# é\nNodeName=a \\\n  CPUs = "4" # four\n'
    (line,) = parse(text.encode(), "f.conf").lines
    cpus = line.pairs[1]
    assert (line.number, cpus.line, cpus.value, cpus.path) == (2, 3, "4", "f.conf")
    assert text[cpus.start : cpus.end] == '"4"'
    assert text[cpus.key_start :].startswith("CPUs")


def test_of_several_the_last_counts_in_any_case() -> None:
    file = parse(b"Clustername=a\nCLUSTERNAME=b\n")
    pair = file.get("ClusterName")
    assert pair
    assert (pair.value, pair.line) == ("b", 2)
    assert file.get("Port") is None
    assert len(file.all("clustername")) == 2


def test_set_adds_what_is_not_there_and_keeps_the_line_ends() -> None:
    assert parse(b"A=1\r\nB=2").set("C", "x y").to_bytes() == b'A=1\r\nB=2\r\nC="x y"\r\n'
    assert parse(b"A=1\n").set("a", "2").to_bytes() == b"A=2\n"
    # A continued last line must not swallow what is added.
    assert [line.key for line in parse(b"A=1 \\\n").set("B", "2").lines] == ["A", "B"]


def test_pairs_and_lines_can_be_taken_out() -> None:
    file = parse(b"NodeName=a CPUs=4 Procs=4 # both\nB=1\n")
    line = file.lines[0]
    assert apply(file.text, [remove_pair(line, line.pairs[2])]) == "NodeName=a CPUs=4 # both\nB=1\n"
    assert apply(file.text, [remove_line(line)]) == "B=1\n"


def test_edits_may_not_overlap() -> None:
    with pytest.raises(ValueError, match="overlap at character 1"):
        apply("abc", [Edit(0, 2, "x"), Edit(1, 3, "y")])


@pytest.mark.parametrize("value", ["a\nb", "a\0b", 'two "words"', '"a'])
def test_what_no_line_can_carry_is_refused(value: str) -> None:
    with pytest.raises(ParseError):
        quoted(value)


@given(st.text(alphabet='ab \\#"=,[]', max_size=12))
def test_what_is_written_is_read_again(value: str) -> None:
    try:
        written = quoted(value)
    except ParseError:
        return
    (line,) = parse(f"Key={written} # c\n".encode()).lines
    assert [pair.value for pair in line.pairs] == [value]
    assert not line.rest


def hash_as_in_c(data: bytes) -> int:
    value = 0
    for byte in data:
        signed = byte - 256 if byte > 127 else byte
        value = (value ^ (signed << 8)) & 0xFFFFFFFF
        for _ in range(8):
            value = ((value << 1) ^ 4129 if value & 0x8000 else value << 1) & 0xFFFFFFFF
    return value


@given(st.binary(max_size=80).filter(lambda data: b"\0" not in data))
def test_the_hash_is_slurms(data: bytes) -> None:
    assert conf_hash(data) == hash_as_in_c(data)


def test_the_hash_takes_in_what_is_included_where_it_is_met() -> None:
    files = {"nodes-alpha.conf": b"NodeName=a\n"}
    text = b"ClusterName=Alpha\ninclude nodes-%c.conf\nB=1\n"
    expected = hash_as_in_c(b"ClusterName=Alpha\ninclude nodes-%c.conf\nNodeName=a\nB=1\n")
    assert conf_hash(text, "slurm.conf", files.__getitem__) == expected


def test_a_file_that_includes_itself_has_no_hash() -> None:
    with pytest.raises(IncludeLoop, match="a.conf"):
        conf_hash(b"include a.conf\n", "a.conf", lambda _: b"include a.conf\n")
