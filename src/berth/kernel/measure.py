"""How much the files below directories take, found out by a process of its own.

Walking a large tree takes minutes and would keep the engine from everything else; the process can be given the lowest
priority. Must not: be asked about directories that may hang.
"""

import os
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from berth.base.aio import in_thread
from berth.kernel import process
from berth.kernel.tree import apparent_size

_CHILD: Final = str(Path(__file__).with_name("measure_child.py"))


class Measured(NamedTuple):
    """One of the directories asked about."""

    at: int
    #: Bytes; -1 if the directory is not there.
    size: int
    took_ms: int


async def apart(paths: Sequence[str], hurry_s: float) -> AsyncIterator[Measured]:
    """Yield each directory's figure when it is known; after `hurry_s` seconds only while the disk is idle."""
    source = os.memfd_create("paths", os.MFD_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        with os.fdopen(source, "wb", closefd=False) as out:
            out.write(b"".join(os.fsencode(path) + b"\0" for path in paths))
        os.lseek(source, 0, os.SEEK_SET)
        argv = (sys.executable, "-I", "-S", _CHILD, str(hurry_s))
        try:
            child = process.spawn(argv, stdin=source, stdout=writer, env={})
        finally:
            os.close(writer)
        try:
            rest = b""
            async for piece in process.read_pipe(reader):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    index, size, took = line.split()
                    yield Measured(int(index), int(size), int(took))
        finally:
            child.kill()
            await child.wait()
    finally:
        os.close(reader)
        os.close(source)


async def here(paths: Sequence[str], hurry_s: float) -> AsyncIterator[Measured]:
    """Do the same in this process, for an engine that starts none."""
    del hurry_s
    for index, path in enumerate(paths):
        yield Measured(index, await in_thread(apparent_size, path), 0)
