"""What an image lacks, from what was seen in it."""

from __future__ import annotations

import pytest

from hpctools.images.needs import Contents, Lack, Library, lacks

MISSING = Library(error="x.so: cannot open shared object file: No such file or directory")
HAS = Library(path="/usr/lib/x.so", there=("/usr/lib/x.so",))
PROVIDERS = ("libefa-rdmav34.so", "libmlx5-rdmav34.so")
VERBS = {"libibverbs.so.1": HAS, "libnccl.so.2": HAS}
FABRIC = {"libfabric.so.1": HAS, "libnccl-net-ofi.so": HAS, "libnccl.so.2": HAS}


def names(found: tuple[Lack, ...]) -> list[str]:
    return [one.what for one in found]


def seen(
    libraries: dict[str, Library], providers: tuple[str, ...] = (), bundled: tuple[str, ...] = ()
) -> Contents:
    return Contents((3, 11, 2), libraries, providers, bundled)


@pytest.mark.parametrize(
    ("fabric", "contents"),
    [
        ("infiniband", seen(VERBS, providers=PROVIDERS)),
        ("roce", seen(VERBS, providers=("libbnxt_re-rdmav34.so",))),
        ("efa", seen(FABRIC | {"libefa.so.1": HAS})),
        ("slingshot", seen(FABRIC | {"libcxi.so.1": HAS})),
        ("tcp", seen({"libnccl.so.2": HAS})),
        ("", seen({}, bundled=("/x/nvidia/nccl/lib/libnccl.so.2",))),
    ],
)
def test_an_image_with_all_that_its_fabric_needs_lacks_nothing(fabric: str, contents: Contents) -> None:
    assert lacks(contents, fabric, gpus=True) == ()


def test_without_gpus_nccl_is_not_missed() -> None:
    assert lacks(seen({}), "tcp", gpus=False) == ()
    assert names(lacks(seen({}), "tcp", gpus=True)) == ["libnccl.so.2"]


def test_without_libibverbs_nccl_falls_to_sockets() -> None:
    (found,) = lacks(seen({"libnccl.so.2": HAS, "libibverbs.so.1": MISSING}), "infiniband", gpus=True)
    assert found.severity == "warning"
    assert "falls to sockets" in found.message
    assert "rdma-core" in found.hint


def test_libibverbs_without_a_provider_sees_no_adapter() -> None:
    (found,) = lacks(seen(VERBS), "roce", gpus=True)
    assert "sees no adapter" in found.message
    (found,) = lacks(seen(VERBS, providers=("libefa-rdmav34.so",)), "infiniband", gpus=True)
    assert "only libefa-rdmav34.so" in found.message


def test_efa_needs_libfabric_its_provider_and_the_plugin() -> None:
    what = names(lacks(seen({"libnccl.so.2": HAS}), "efa", gpus=True))
    assert what == ["libefa.so.1", "libfabric.so.1", "libnccl-net.so"]


def test_a_library_that_lies_where_the_loader_does_not_look_is_found() -> None:
    there = Library(error=MISSING.error, there=("/opt/amazon/efa/lib64/libfabric.so.1",))
    named = Library(error="libfabric.so.1: cannot open shared object file", there=there.there)
    (found,) = lacks(seen(FABRIC | {"libefa.so.1": HAS, "libfabric.so.1": named}), "efa", gpus=True)
    assert found.hint == "LD_LIBRARY_PATH=/opt/amazon/efa/lib64"


def test_a_library_that_wants_another_one_says_which() -> None:
    broken = Library(
        error="libnl-3.so.200: cannot open shared object file", there=("/usr/lib/libibverbs.so.1",)
    )
    (found,) = lacks(seen(VERBS | {"libibverbs.so.1": broken}, providers=PROVIDERS), "roce", gpus=True)
    assert "libnl-3.so.200" in found.message


def test_the_driver_comes_with_the_node() -> None:
    """A login node has no libcuda, which --nv brings where GPUs are."""
    plugin = Library(error="libcuda.so.1: cannot open shared object file", there=("/opt/ofi/libnccl-net.so",))
    contents = seen(
        {"libfabric.so.1": HAS, "libefa.so.1": HAS, "libnccl.so.2": HAS, "libnccl-net.so": plugin}
    )
    assert lacks(contents, "efa", gpus=True) == ()


def test_where_the_loader_cannot_be_asked_a_file_is_enough() -> None:
    """A python3 without ctypes."""
    quiet = Library(there=("/usr/lib/libibverbs.so.1",))
    assert lacks(seen(VERBS | {"libibverbs.so.1": quiet}, providers=PROVIDERS), "roce", gpus=True) == ()


@pytest.mark.parametrize(("version", "said"), [((), "none"), ((3, 6, 8), "3.6.8")])
def test_no_job_starts_without_a_python3_of_its_time(version: tuple[int, ...], said: str) -> None:
    (found, *_) = lacks(Contents(version), "", gpus=False)
    assert (found.severity, found.message.endswith(said)) == ("fatal", True)


def test_binds_that_are_not_here_are_told_where_something_is_missing() -> None:
    assert names(lacks(seen({}), "tcp", gpus=False, absent=["/opt/amazon"])) == []
    (*_, last) = lacks(seen({}), "efa", gpus=False, absent=["/opt/amazon"])
    assert (last.what, last.severity) == ("/opt/amazon", "note")
