"""What sacctmgr says of a user's rights."""

from __future__ import annotations

import pytest

from hpctools.errors import ParseError
from hpctools.slurm import sacctmgr
from tests.slurm_language.recordings import answer, each_release


@each_release
def test_a_users_associations_are_read(release: str) -> None:
    found = sacctmgr.parse_associations(answer(release, "sacctmgr-associations"))
    assert found
    assert all(one.cluster and one.account and one.user and one.qos for one in found)


def test_limits_are_figures_and_what_is_not_set_is_none() -> None:
    text = (
        "alpha|research|ada||prod,normal|normal|gres/gpu=64,mem=1T|gres/gpu=16|gres/gpu=8|1-00:00:00|4|20\n"
        "alpha|product|ada|main|normal|||||||\n"
    )
    first, second = sacctmgr.parse_associations(text)
    assert (first.qos, first.default_qos, first.partition) == (("prod", "normal"), "normal", "")
    assert first.grp_tres == {"gres/gpu": 64, "mem": 1048576}
    assert (first.max_tres, first.max_tres_per_node) == ({"gres/gpu": 16}, {"gres/gpu": 8})
    assert (first.max_wall_s, first.max_jobs, first.max_submit) == (86400, 4, 20)
    assert (second.partition, second.grp_tres, second.max_wall_s, second.max_jobs) == ("main", {}, None, None)


@pytest.mark.parametrize("text", ["alpha|research\n", " Problem with query\n"])
def test_what_is_no_line_of_sacctmgr_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        sacctmgr.parse_associations(text)


def test_a_users_name_cannot_become_an_option() -> None:
    assert "user=--help" in sacctmgr.associations_command("--help")
    assert "cluster=alpha" in sacctmgr.associations_command("ada", "alpha")
