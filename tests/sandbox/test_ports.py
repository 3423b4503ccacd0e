"""Ports are handed out once."""

from __future__ import annotations

import socket

import pytest

from hpctools.errors import HpctoolsError
from hpctools.sandbox.ports import FIRST, LAST, free, reserved


def test_a_port_in_use_is_stepped_over() -> None:
    with reserved("127.0.0.1", 1) as (port,):
        pass
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert not free("127.0.0.1", port)
        with reserved("127.0.0.1", 1, wanted=[port]) as (second,):
            assert second != port


def test_two_who_ask_at_once_get_different_ports() -> None:
    with reserved("127.0.0.1", 3) as first, reserved("127.0.0.1", 3, wanted=first) as second:
        assert not set(first) & set(second)


def test_recorded_ports_come_first_and_those_of_others_never() -> None:
    with reserved("127.0.0.1", 2, wanted=[FIRST + 70], taken=[FIRST, FIRST + 1]) as ports:
        assert FIRST + 70 in ports
        assert not {FIRST, FIRST + 1} & set(ports)


def test_too_many_are_refused() -> None:
    with pytest.raises(HpctoolsError, match="are free"), reserved("127.0.0.1", LAST - FIRST + 2):
        pass
