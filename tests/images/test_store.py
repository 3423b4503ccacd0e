"""The cache of images: what is in it, whose images count, what is left of who was killed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path

import pytest

from hpctools.errors import HpctoolsError, InvalidInput, NotFound
from hpctools.images import Image, digests, listing, resolve, store
from hpctools.images.store import Entry

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of others")
REFERENCE = "docker://example.org/team/x:1"
SOMEBODY = 64798


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def sif(path: Path, text: str = "") -> Path:
    path.write_bytes(b"#!/usr/bin/env run-singularity\n\0SIF_MAGIC\0" + text.encode())
    return path


def add(cache: Path, text: str = "", *, reference: str = REFERENCE, name: str = "") -> Entry:
    with store.part(cache) as part:
        return store.put(cache, sif(part / "x.sif", text), reference=reference, name=name, tool="by hand 1")


def test_an_image_is_found_by_reference_and_name_with_its_digest(cache: Path) -> None:
    entry = add(cache, name="mine")
    for asked in (REFERENCE, "mine"):
        found = resolve(asked, {}, cache, pull=False)
        assert found == Image(entry.path, asked, REFERENCE, entry.record.sha256, entry.path.stat().st_size)
    assert entry.record.sha256 == digests.sha256(entry.path)
    assert oct(entry.path.stat().st_mode)[-3:] == "644"
    assert oct(entry.path.parent.stat().st_mode)[-3:] == "755"


def test_a_tag_that_moved_makes_a_new_entry_and_the_old_one_stays(cache: Path) -> None:
    first, second = add(cache, "a"), add(cache, "b")
    again = add(cache, "a")
    assert resolve(REFERENCE, None, cache).path == again.path
    assert len({first.path, second.path, again.path}) == 3
    assert all(entry.path.exists() for entry in (first, second, again))
    assert add(cache, "a").path == again.path


def test_the_same_bytes_of_two_references_are_two_images(cache: Path) -> None:
    entries = [add(cache, reference=f"{REFERENCE}{number}") for number in range(3)]
    assert [resolve(f"{REFERENCE}{number}", None, cache).path for number in range(3)] == [
        entry.path for entry in entries
    ]


def test_what_was_begun_and_not_ended_is_no_image_and_is_removed(cache: Path) -> None:
    left = cache / f"{store.PART}{socket.gethostname()}-killed"
    left.mkdir()
    sif(left / "x.sif")
    (left / "lock").touch()
    elsewhere = cache / f"{store.PART}otherhost-at-work"
    elsewhere.mkdir()
    sif(elsewhere / "x.sif")
    (cache / "half").mkdir()
    sif(cache / "half" / "x.sif")
    assert store.entries(cache) == []
    add(cache)
    assert not left.exists()
    assert elsewhere.exists(), "another host may still be at work on it"


def test_what_is_being_made_is_left_alone(cache: Path) -> None:
    with store.part(cache) as working:
        add(cache)
        assert working.exists()
    assert not working.exists()


def test_a_failure_leaves_nothing(cache: Path) -> None:
    with contextlib.suppress(HpctoolsError), store.part(cache) as part:
        sif(part / "x.sif")
        raise HpctoolsError("no")
    assert [path for path in cache.iterdir() if not path.name.startswith(".lock")] == []


def test_an_image_that_was_changed_is_not_run(cache: Path) -> None:
    entry = add(cache, "as it was put there")
    sif(entry.path, "as somebody wanted it")
    with pytest.raises(HpctoolsError, match="is not what was put there"):
        resolve(REFERENCE, None, cache)
    assert listing(None, cache)[0].problem.startswith("changed since")


def test_an_image_that_was_copied_is_run(cache: Path) -> None:
    entry = add(cache, "x")
    data = entry.path.read_bytes()
    entry.path.unlink()
    entry.path.write_bytes(data)
    assert resolve(REFERENCE, None, cache).sha256 == entry.record.sha256


@root
@pytest.mark.parametrize(("mode", "counts"), [(0o755, True), (0o2775, True), (0o1777, False), (0o777, False)])
def test_an_image_of_somebody_elses_counts_only_where_not_all_can_write(
    cache: Path, mode: int, counts: bool
) -> None:
    entry = add(cache)
    for path in (entry.path.parent, *entry.path.parent.iterdir()):
        os.chown(path, SOMEBODY, SOMEBODY)
    cache.chmod(mode)
    assert (store.find(cache, reference=REFERENCE) is not None) is counts
    os.chown(cache, SOMEBODY, -1)  # the one who looks after the cache
    assert (store.find(cache, reference=REFERENCE) is not None) is (mode != 0o777)


@root
@pytest.mark.parametrize("which", ["x.sif", "record.json"])
def test_in_a_folder_for_all_each_file_is_looked_at(cache: Path, which: str) -> None:
    entry = add(cache)
    cache.chmod(0o1777)
    assert store.find(cache, reference=REFERENCE)
    os.chown(entry.path.with_name(which), SOMEBODY, SOMEBODY)
    assert store.find(cache, reference=REFERENCE) is None


def test_what_others_may_change_and_links_do_not_count(cache: Path, tmp_path: Path) -> None:
    entry = add(cache)
    entry.path.chmod(0o664)
    assert "others may write" in listing(None, cache)[0].problem
    entry.path.chmod(0o644)
    moved = tmp_path / "elsewhere.sif"
    entry.path.rename(moved)
    entry.path.symlink_to(moved)
    assert "is a link" in listing(None, cache)[0].problem
    assert store.find(cache, reference=REFERENCE) is None


def test_records_of_any_bytes_break_nothing(cache: Path) -> None:
    entry = add(cache)
    good = json.loads((entry.path.parent / "record.json").read_text())
    for text in ("", "[]", "{}", "\0", json.dumps({**good, "size": "many"}), " " * 70000 + json.dumps(good)):
        (entry.path.parent / "record.json").write_text(text)
        assert store.entries(cache) == []


def test_two_that_want_the_same_take_turns(cache: Path) -> None:
    said = threading.Event()
    done: list[str] = []

    def second() -> None:
        with store.filling(cache, REFERENCE, lambda text: said.set()):
            done.append("second")

    with store.filling(cache, REFERENCE, lambda text: None):
        thread = threading.Thread(target=second)
        thread.start()
        assert said.wait(60)
        done.append("first")
    thread.join(60)
    assert done == ["first", "second"]


def test_a_sites_cache_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="mkdir -m 2775"):
        resolve(REFERENCE, None, tmp_path / "nowhere")
    assert listing({"x": "/nowhere/x.sif"}, tmp_path / "nowhere")[0].problem == "there is no such file"


def test_names_of_the_site_win_and_lead_to_files_or_registries(cache: Path, tmp_path: Path) -> None:
    path = sif(tmp_path / "site.sif", "of the site")
    add(cache, name="tool")
    images = {"tool": str(path), "remote": REFERENCE, "twice": "tool"}
    assert resolve("tool", images, cache).path == path
    assert resolve("remote", images, cache).source == REFERENCE
    with pytest.raises(InvalidInput, match="again a name"):
        resolve("twice", images, cache)
    with pytest.raises(InvalidInput, match=r"did you mean remote\?"):
        resolve("remoet", images, cache)


def test_a_file_is_looked_at_before_it_is_an_image(tmp_path: Path) -> None:
    sif(tmp_path / "train.sif")
    (tmp_path / "text.sif").write_text("no image")
    for name, said in [
        ("trian.sif", "did you mean train.sif?"),
        ("text.sif", "is no image"),
        (".//", "is a folder"),
        ("registry.example.org/nvidia/x:1", "docker://registry.example.org/nvidia/x:1"),
    ]:
        with pytest.raises(InvalidInput) as caught:
            resolve(name, cwd=tmp_path)
        assert said in str(caught.value)
    assert resolve("train.sif", cwd=tmp_path).path == tmp_path / "train.sif"


def test_a_digest_is_computed_again_when_the_file_is_another(tmp_path: Path) -> None:
    path = sif(tmp_path / "x.sif", "1")
    before = digests.sha256(path)
    assert digests.known(path) == before
    os.utime(path, ns=(0, 0))
    assert digests.known(path) is None
    sif(path, "2")
    assert digests.sha256(path) != before


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(cache: Path, tmp_path: Path) -> None:
    with store.filling(cache, REFERENCE, pytest.fail):
        (lock,) = cache.glob(".lock-*")
    lock.unlink()
    lock.symlink_to(tmp_path / "made")
    with store.filling(cache, REFERENCE, pytest.fail):
        assert not (tmp_path / "made").exists()
