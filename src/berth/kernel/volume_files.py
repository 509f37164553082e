"""Looks into a directory tree, and puts files there, by a process of its own.

The tree may be hostile (symlinks) or dead (a server that is gone): the process resolves every name inside it and can be
killed. Must not: touch the tree itself.
"""

import asyncio
import errno
import json
import os
import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.errors import InvalidArgument, NotFound, SystemFault
from berth.kernel import process

_CHILD: Final = str(Path(__file__).with_name("volume_files_child.py"))


class NoAnswer(SystemFault):
    """Where the files are, nobody answers."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"no answer within {limit_s:g} s; is the server reachable?")


class NoSuchFile(NotFound):
    """The path is not there."""


class UnfitFile(InvalidArgument):
    """The path is there, and of the wrong kind."""


class Told(msgspec.Struct, frozen=True):
    """The first line of the process."""

    errno: int = 0
    said: str = ""
    stat: dict[str, Any] = {}


def _check(told: Told, path: str) -> Told:
    if told.errno == 0:
        return told
    reason = told.said or os.strerror(told.errno).lower()
    if told.errno == errno.ENOENT:
        raise NoSuchFile(f"{path}: {reason}")
    if told.errno in (errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP):
        raise UnfitFile(f"{path}: {reason}")
    raise SystemFault(f"{path}: {reason}")


@asynccontextmanager
async def look(
    verb: str, root: str, path: str, flags: str = "", *, limit_s: float
) -> AsyncIterator[tuple[Told, AsyncIterator[bytes]]]:
    """Lend what a path is, and the bytes asked for: ``stat``, ``cat``, ``pack``, ``list``.

    Raises `NoSuchFile`, `UnfitFile`, and `NoAnswer` when nothing comes for `limit_s` seconds.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            child = process.spawn(_argv(verb, root, path, flags), stdout=writer, env={"PATH": os.environ["PATH"]})
        finally:
            os.close(writer)
        pieces = _within(process.read_pipe(reader, 256 * 1024), limit_s)
        try:
            told, rest = await _first(pieces)
            yield _check(told, path), _rest(rest, pieces)
        except BaseException:
            child.kill()
            raise
        finally:
            code = await child.wait()
        if code:
            raise SystemFault(f"{path}: the process that reads it {process.ended(code)}")
    finally:
        os.close(reader)


async def put(root: str, path: str, body: AsyncIterable[bytes], *, keep_kinds: bool, limit_s: float) -> None:
    """Unpack a tar into a directory. Raises as `look` does."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    source, feed = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            argv = _argv("unpack", root, path, "k" if keep_kinds else "")
            child = process.spawn(argv, stdin=source, stdout=writer, env={"PATH": os.environ["PATH"]})
        finally:
            os.close(writer)
            os.close(source)
        try:
            try:
                async for piece in body:
                    async with _limit(limit_s):
                        if not await process.write_all(feed, piece):
                            break
            finally:
                os.close(feed)
            told, _ = await _first(_within(process.read_pipe(reader), limit_s))
            _check(told, path)
        finally:
            child.kill()
            await child.wait()
    finally:
        os.close(reader)


def _argv(verb: str, root: str, path: str, flags: str) -> tuple[str, ...]:
    return sys.executable, "-I", "-S", _CHILD, verb, root, path, flags


@asynccontextmanager
async def _limit(limit_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(limit_s):
            yield
    except TimeoutError:
        raise NoAnswer(limit_s) from None


async def _within(pieces: AsyncIterator[bytes], limit_s: float) -> AsyncIterator[bytes]:
    while True:
        async with _limit(limit_s):
            piece = await anext(pieces, b"")
        if not piece:
            return
        yield piece


async def _first(pieces: AsyncIterator[bytes]) -> tuple[Told, bytes]:
    said = b""
    async for piece in pieces:
        said += piece
        if b"\n" in said:
            break
    line, _, rest = said.partition(b"\n")
    if not line:
        raise SystemFault("the program that looks into volumes ended without a word")
    return msgspec.convert(json.loads(line), Told), rest  # names in it need not be UTF-8


async def _rest(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in pieces:
        yield piece
