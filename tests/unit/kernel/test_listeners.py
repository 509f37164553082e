from pathlib import Path

from berth.kernel.listeners import listening

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
TCP = HEAD + (
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 11 1 x 100 0 0 10 0\n"
    "   1: 0100007F:1F91 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  0  0 12 1 x 100 0 0 10 0\n"
)
UDP6 = HEAD + (
    "   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 0:0 0:0 0 0 0 13 2 x 0\n"
)


def test_tables_of_proc_are_read(tmp_path: Path) -> None:
    (tmp_path / "tcp").write_text(TCP)
    (tmp_path / "udp6").write_text(UDP6)
    assert [(one.protocol, one.address, one.port, one.inode) for one in listening(tmp_path)] == [
        ("tcp", "127.0.0.1", 8080, 11),
        ("udp", "::1", 53, 13),
    ]
    assert listening(tmp_path / "missing") == []
