"""What sinfo says of partitions and nodes."""

from __future__ import annotations

import pytest

from hpctools.errors import ParseError
from hpctools.slurm import sinfo
from hpctools.slurm.tres import Gres
from tests.slurm_language.recordings import answer, each_release

# The marks of nodes on which jobs run and which are kept free for a larger job.
MIXED = {"22.05": "", "24.11": "-", "26.05": "-"}


@each_release
def test_groups_of_like_nodes_are_read(release: str) -> None:
    groups = sinfo.parse(answer(release, "sinfo"))
    (default,) = {group.partition for group in groups if group.is_default}
    nodes = [group for group in groups if group.partition == default]
    assert sum(group.nodes for group in nodes) == 4
    assert all(group.gres == (Gres("gpu", "h200", 8),) and group.gpus == 8 for group in nodes)
    assert all(group.usable and group.memory_mb > 1000 and group.cpus > 1 for group in nodes)
    assert all(group.max_time_s and group.max_time_s >= (group.default_time_s or 0) for group in nodes)
    assert {(group.state, group.mark) for group in nodes} == {("mixed", MIXED[release]), ("planned", "")}


def test_a_group_of_every_kind_is_read() -> None:
    text = "\n".join(
        [
            "main*|up|3|64|64000|gpu:h200:8(S:0-1),shard:16|infinite|n/a|mixed|ib,h200|n[1-3]",
            "main*|up|1|64|64000|(null)|1-00:00:00|30:00|drained*|(null)|n4",
            "cloud|inact|2|64+|1000+|(null)|infinite|n/a|idle~|(null)|c[1-2]",
            "main*|up|1|64|64000|(null)|1-00:00:00|30:00|idle*|(null)|n5",
            "empty|up|0|0|0||infinite|n/a|n/a||",
            "",
        ]
    )
    mixed, drained, cloud, silent, empty = sinfo.parse(text)
    assert (mixed.max_time_s, mixed.default_time_s, mixed.features) == (None, None, ("ib", "h200"))
    assert (mixed.gpus, mixed.usable, mixed.mark) == (8, True, "")
    assert (drained.state, drained.mark, drained.usable, drained.default_time_s) == (
        "drained",
        "*",
        False,
        1800,
    )
    assert (cloud.cpus, cloud.available, cloud.mark, cloud.usable) == (64, False, "~", False)
    assert (silent.state, silent.mark, silent.usable) == ("idle", "*", False)
    assert (empty.nodes, empty.gres, empty.usable, empty.node_list) == (0, (), False, "")


@pytest.mark.parametrize(
    "line", ["main|up", "a|b|c|d|e|f|g|h|i|j|k", "slurm_load_partitions: Unable to contact"]
)
def test_what_is_no_line_of_sinfo_is_refused(line: str) -> None:
    with pytest.raises(ParseError):
        sinfo.parse(line)
