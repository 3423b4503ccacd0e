"""The texts and words behind a private view of the system."""

from __future__ import annotations

import subprocess

from hpctools.sandbox.namespaces import USERS, View, hosts_text, network_address, users_text


def test_users_are_added_once() -> None:
    homes = {user: f"/home/{user}" for user in USERS}
    passwd, group = users_text("root:x:0:0::/root:/bin/sh\n", "root:x:0:\n", homes)
    assert "ada:x:64701:64701:user of the sandbox:/home/ada:/bin/bash\n" in passwd
    assert "lin:x:64702:\n" in group
    assert users_text(passwd, group, homes) == (passwd, group)


def test_a_host_of_the_system_keeps_its_other_lines() -> None:
    text = hosts_text({"vm": "127.0.0.1"}, "127.0.0.1 localhost # vm\n10.1.2.3 vm vm.example\n")
    assert text == "127.0.0.1 localhost # vm\n127.0.0.1 vm\n"


def test_every_host_of_a_large_sandbox_has_its_own_address() -> None:
    addresses = [network_address(number) for number in range(513)]
    assert len(set(addresses)) == 513
    assert all(0 < int(part) < 256 for address in addresses for part in address.split(".")[3:])


def test_words_pass_through_a_view_unchanged() -> None:
    """Paths and words with spaces, quotes and $() go through the shells in between as they are."""
    words = ["printf", "%s|", "a b", "$(id)", "`id`", "'", '"', "--", "*", ""]
    plain = subprocess.run(View().words(words), capture_output=True, text=True, check=True)
    assert plain.stdout == "a b|$(id)|`id`|'|\"|--|*||"
    bound = View({"/etc/hosts": "/etc/hosts"}).words(words)
    done = subprocess.run(bound, capture_output=True, text=True, check=False)
    if done.returncode == 0:  # where namespaces may be made
        assert done.stdout == plain.stdout
