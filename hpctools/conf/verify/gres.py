"""gres.conf: device files that stand for the real ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hpctools.conf.candidate import Conf
from hpctools.conf.verify.change import Change, left_out, replaced
from hpctools.conf.verify.ground import Ground
from hpctools.conf.verify.value import Replacement
from hpctools.errors import ParseError
from hpctools.slurm import hostlist, tres
from hpctools.slurm.conf_text import Line

_KIND = "devices"


def changes(conf: Conf, slurm: Conf, ground: Ground) -> list[Change]:
    """Every device file moved below ground.devices. Nodes that are started and whose GPUs AutoDetect
    would find get lines with the GPUs that slurm.conf gives them. Without a node that is started nobody
    looks for devices, and the file stays as it is."""
    found: list[Change] = []
    if not ground.started:
        return found
    for line in conf.lines:
        if _detects(conf, line) and _is_gpu(line) and not _files(line):
            # Only a filter of what AutoDetect finds: it would count as a GPU of its own.
            found.append(left_out(conf, line, _KIND))
            continue
        for pair in line.pairs:
            if pair.key.lower() in ("file", "multiplefiles"):
                new = _moved(pair.value, ground)
                found.append(replaced(conf, line, pair, new, _KIND))
            elif pair.key.lower() == "autodetect" and pair.value.lower() != "off":
                found.append(replaced(conf, line, pair, "off", _KIND))
    main = conf.files[0]
    for name in ground.started:
        for text in _detected(conf, slurm, name, ground):
            told = Replacement(main.path, _autodetect_line(conf, name), "AutoDetect", "", text, _KIND)
            found.append(Change(main.append(text), told))
    return found


def devices(found: Sequence[Change]) -> list[str]:
    """The files that changes name."""
    named = []
    for change in found:
        for pattern in re.findall(r"(?:^|(?<=File=))(/\S+)", change.told.new):
            try:
                named += hostlist.expand(pattern)
            except ParseError:
                continue  # slurmd says so
    return named


def _moved(value: str, ground: Ground) -> str:
    return re.sub(r"(^|,)/", rf"\g<1>{ground.devices}/", value)


def _detected(conf: Conf, slurm: Conf, name: str, ground: Ground) -> Iterator[str]:
    """The lines for the GPUs of a node on which AutoDetect would look, and no file is named."""
    lines = [line for line in conf.lines if is_for(line, name)]
    if not any(_detects(conf, line) for line in lines) or any(
        _is_gpu(line) and _files(line) for line in lines
    ):
        return
    try:
        gpus = [one for one in tres.parse_gres(slurm.node_of[name].value("Gres")) if one.name == "gpu"]
    except ParseError:
        return
    first = 0
    for gpu in gpus:
        kind = f" Type={gpu.type}" if gpu.type else ""
        files = f"{ground.devices}/dev/nvidia[{first}-{first + gpu.count - 1}]"
        first += gpu.count
        if gpu.count:
            yield f"NodeName={name} Name=gpu{kind} File={files}"


def _is_gpu(line: Line) -> bool:
    return (line.value("Name") or "").lower() == "gpu"


def _files(line: Line) -> bool:
    return bool(line.get("File") or line.get("MultipleFiles"))


def is_for(line: Line, name: str) -> bool:
    """Whether a line of gres.conf is for the node of this name."""
    nodes = line.value("NodeName")
    if nodes is None:
        return True
    try:
        return name in hostlist.expand(nodes)
    except ParseError:
        return False


def _detects(conf: Conf, line: Line) -> bool:
    """Whether AutoDetect is on for the nodes of a line: its own word, else the file's."""
    own = line.value("AutoDetect")
    everywhere = [one.value("AutoDetect") for one in conf.all("AutoDetect")]
    word = own if own is not None else everywhere[-1] if everywhere else None
    return word is not None and word.lower() != "off"


def _autodetect_line(conf: Conf, name: str) -> int:
    """The line that switched it on."""
    lines = [line.number for line in conf.lines if line.get("AutoDetect") and is_for(line, name)]
    return lines[-1] if lines else 1
