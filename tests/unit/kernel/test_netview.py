"""Sockets that listen, read from the kernel's tables."""

import sys

import pytest

from berth.kernel.netview import ListenerView, parse_listeners

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.mark.skipif(sys.byteorder != "little", reason="the kernel prints addresses in the machine's order")
def test_listeners_of_both_versions() -> None:
    text = (
        HEAD
        + "   0: 0100007F:1538 00000000:0000 0A 0:0 0:0 0 0 0 1\n   1: 0200120A:0050 0300120A:9999 01 0:0 0:0 0 0 0 1\n"
    )
    assert parse_listeners(text, "tcp", "0A") == [ListenerView("tcp", "127.0.0.1", 5432)]
    text = HEAD + "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0 0 0\n"
    assert parse_listeners(text, "tcp", "0A") == [ListenerView("tcp", "::1", 80)]
    assert parse_listeners(HEAD, "tcp", "0A") == []
