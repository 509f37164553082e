"""Tars that are unpacked into a tree: what goes wrong is said with the file it happened to."""

import io
import os
import resource
import tarfile
from pathlib import Path

import pytest

from berth.base.errors import SystemFault
from berth.kernel.unpack import Unpacker


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("dir/large")
        member.size = 100_000
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    archive.seek(0)
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # as a full disk, without one
    try:
        with pytest.raises(SystemFault, match=r"^Error processing tar file: dir/large: File too large$"):
            Unpacker(root, "/").unpack(archive)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        os.close(root)
