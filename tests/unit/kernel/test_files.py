"""Files of our own: what is said to be on its disk is there, with its name."""

import os
import stat
from pathlib import Path

import pytest

from berth.kernel.files import write_atomically


@pytest.mark.parametrize("durable", [False, True])
def test_what_is_durable_is_on_its_disk_and_so_is_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(fd: int) -> None:
        calls.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def replaced(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    write_atomically(tmp_path / "file", b"data", durable=durable)
    assert calls == (["file", "rename", "directory"] if durable else ["rename"])
    assert (tmp_path / "file").read_bytes() == b"data"
