"""Backups in a repository of restic's: what did not change since the last one is neither read nor stored again.

restic does all of it (deduplication, encryption, retention, checks); see restic(1). What a backup says of itself is a
file beside the data in its snapshot. Each call is a process with a limit that dies with the engine.
"""

import asyncio
import contextlib
import errno
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from berth.base.aio import in_thread
from berth.kernel import process
from berth.kernel.files import write_atomically
from berth.volumes.backup.errors import BadBackupOption, StoreFailed, StoreUnavailable
from berth.volumes.backup.model import stamp
from berth.volumes.backup.stores.base import Entry, Volume
from berth.volumes.backup.stores.turns import Turns
from berth.volumes.backup.unchanged import Mark, Marks

#: How long one call may take, in seconds: the first backup of terabytes over a slow line.
_LIMIT_S: Final = 48 * 3600.0
_TAG: Final = "berth"
_VOLUME_TAG: Final = "volume="
#: Endings of a backup that made a snapshot; 3 means that something could not be read.
_MADE: Final = (0, 3)
#: What restic says of a repository that is in use, or was when somebody was killed.
_LOCKED: Final = b"is already locked"
#: What of the engine's environment restic may need: credentials of its backends, where its cache is.
_PASSED: Final = ("AWS_", "RESTIC_", "B2_", "AZURE_", "GOOGLE_", "OS_", "HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME")


def unreadable(said: bytes) -> str:
    """Return what restic could not read, by what it says on standard error; not what was removed meanwhile."""
    for line in said.splitlines():
        try:
            told = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError:
            continue
        error = told.get("error") or {}
        number, words = error.get("Err"), str(error.get("message", ""))
        if isinstance(number, int):
            words = os.strerror(number).lower()
        if told.get("message_type") == "error" and number != errno.ENOENT and "no such file" not in words:
            return f"{told.get('item', 'a file')}: {words or 'cannot be read'}"
    return ""


class Repositories(NamedTuple):
    """What an engine has for all its repositories."""

    #: A directory for what restic has to be told.
    scratch: Path
    marks: Marks
    turns: Turns


class ResticStore:
    """One repository."""

    def __init__(self, repository: str, password_file: str, every: Repositories) -> None:
        if not repository:
            raise BadBackupOption("restic: needs a repository, as in restic:/backups/repo or restic:s3:https://…")
        if not password_file:
            raise BadBackupOption("a repository of restic's needs its password: --password-file FILE (on the engine)")
        self._repository = repository
        #: The same for people, without the password that may be in it.
        self._said = re.sub(r"//[^/@]*@", "//***@", repository)
        self._password_file = password_file
        self._scratch, self._marks, self._turns = every

    @asynccontextmanager
    async def turn(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Wait for whoever prunes or checks the repository, and for backups of the same volumes: they share a file."""
        async with AsyncExitStack() as held:
            for name in sorted(names):
                await held.enter_async_context(self._turns.alone(f"volume {name}"))
            await held.enter_async_context(self._turns.shared(self._repository))
            yield

    async def save(self, volume: Volume, name: str) -> Entry:
        """Back up into the repository, which is made if there is none; what is in it already is only looked for."""
        head = volume.head(name)
        mark = None if volume.reread else self._marks.find(self._repository, name, head)
        if mark is None:
            seen = await volume.tree(name)
        else:  # restic takes its time to open a repository: both at once
            seen, newest = await asyncio.gather(volume.tree(name), self._newest(name))
            if seen is not None and seen.sum == mark.sum and newest.startswith(mark.snapshot):
                return await self._found_again(mark, newest, head)
        summary, changed = await self._backup(volume, name, head)
        files, size = int(summary["total_files_processed"]) - 1, int(summary["total_bytes_processed"])
        snapshot, end = str(summary["snapshot_id"]), {"files": files, "bytes": size}
        if changed or seen is None:
            await self._marks.forget(self._repository, name)
        else:
            await self._marks.made(
                self._repository, name, head, seen, snapshot=snapshot, stamp=volume.stamp, files=files, size=size
            )
        told = {**end, "packed": int(summary["data_added"]), **({"changed": changed} if changed else {})}
        return Entry(name=snapshot[:8], volume=name, stamp=volume.stamp, head=head, end=told)

    async def _found_again(self, mark: Mark, snapshot: str, head: dict[str, Any]) -> Entry:
        now_ns = self._marks.clock.now_ns()
        await self._marks.found_again(mark, snapshot, now_ns)
        end: dict[str, Any] = {"files": mark.files, "bytes": mark.bytes, "packed": 0}
        return Entry(
            name=mark.snapshot[:8], volume=mark.volume, stamp=mark.stamp, head=head, end=end, unchanged=stamp(now_ns)
        )

    async def _newest(self, name: str) -> str:
        """Return the whole name of a volume's newest snapshot; empty for none, or if the repository does not say.

        Its list is what counts: a snapshot that somebody forgot may be in restic's cache still.
        """
        said = await self._run("snapshots", "--json", "--no-lock", "--tag", f"{_VOLUME_TAG}{name}", accepted=None)
        if said.returncode != 0:
            return ""  # the backup that follows says why
        found = msgspec.json.decode(said.stdout) or ()
        return str(max(found, key=lambda one: datetime.fromisoformat(one["time"]))["id"]) if found else ""

    async def _backup(self, volume: Volume, name: str, head: dict[str, Any]) -> tuple[dict[str, Any], Sequence[str]]:
        """Let restic make a snapshot; return its summary, and what it could not read."""
        # The same paths each time: by them restic finds the snapshot that a new one is compared with.
        beside = self._scratch / f"{name}.json"
        await in_thread(self._scratch.mkdir, 0o700, parents=True, exist_ok=True)
        await in_thread(write_atomically, beside, msgspec.json.encode(head), mode=0o600)
        words = (
            "backup", "--json", "--one-file-system", "--tag", _TAG, "--tag", f"{_VOLUME_TAG}{name}", "--host", "berth",
            *(("--force",) if volume.reread else ()), str(volume.path(name)), str(beside),
        )  # fmt: skip
        try:
            said = await self._run(*words, accepted=_MADE)
        except StoreFailed:
            if await self._there():
                raise
            await self._run("init")
            said = await self._run(*words, accepted=_MADE)
        summary: dict[str, Any] = {}
        for line in said.stdout.splitlines():
            told = msgspec.json.decode(line)
            if told.get("message_type") == "summary":
                summary = told
        complaints = said.stderr.decode(errors="replace").strip()
        if not summary.get("snapshot_id"):
            raise StoreFailed(self._said, complaints or "restic said nothing")
        if said.returncode and (wrong := unreadable(said.stderr)):
            # A snapshot without it would be the newest, for which the rules of retention let the whole ones go.
            await self._run("forget", summary["snapshot_id"], accepted=None)
            raise StoreFailed(self._said, f"{wrong}; there is no backup without it")
        return summary, complaints.splitlines()[:20] if said.returncode else ()

    async def entries(self) -> Sequence[Entry]:
        """Return the snapshots that are ours."""
        async with self._turns.shared(self._repository):
            said = await self._run("snapshots", "--json", "--tag", _TAG)
        known = self._marks.seen(self._repository)
        found = []
        for one in msgspec.json.decode(said.stdout) or ():
            volume = next((tag.removeprefix(_VOLUME_TAG) for tag in one["tags"] if tag.startswith(_VOLUME_TAG)), "")
            made = f"{one['time'][:19]}Z".replace("-", "").replace(":", "")
            head = {"volume": volume, "time": one["time"], "paths": one["paths"]}
            seen_ns = known.get(one["id"][:8], 0)
            unchanged = stamp(seen_ns) if seen_ns else ""
            found.append(Entry(name=one["short_id"], volume=volume, stamp=made, head=head, unchanged=unchanged))
        return found

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Return what a backup says of itself."""
        beside = await self._path(name, lambda path: path.endswith(".json"))
        async with self._turns.shared(self._repository):
            said = await self._run("dump", name, beside)
        found: dict[str, Any] = msgspec.json.decode(said.stdout)
        return found

    async def unpack(self, name: str, into: Path) -> Path:
        """Let restic restore a snapshot, and compare every file with what it has."""
        data = await self._path(name, lambda path: not path.endswith(".json"))
        async with self._turns.shared(self._repository):
            await self._run("restore", name, "--target", str(into), "--include", data, "--verify")
        return into / data.lstrip("/")

    async def _path(self, name: str, chosen: Callable[[str], bool]) -> str:
        for entry in await self.entries():
            if entry.name == name[:8]:
                return next(str(path) for path in entry.head["paths"] if chosen(path))
        raise StoreFailed(self._said, f"there is no backup {name}")

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Refuse: a snapshot is no archive."""
        raise StoreFailed(self._said, f"{name} is a snapshot, not an archive")

    async def verify(self, name: str) -> bool:
        """Check the repository, all its data read."""
        del name
        async with self._turns.alone(self._repository):
            await self._run("check", "--read-data")
        return True

    async def drop(self, names: Sequence[str]) -> None:
        """Forget snapshots, and remove what no other needs."""
        if names:
            async with self._turns.alone(self._repository):
                await self._run("forget", "--prune", *names)

    async def _there(self) -> bool:
        known = await self._run("cat", "config", accepted=None)
        return known.returncode == 0 or b"wrong password" in known.stderr

    async def _run(self, *words: str, accepted: Sequence[int] | None = (0,)) -> process.Finished:
        environment = {key: value for key, value in os.environ.items() if key.startswith(_PASSED)}
        # Not among the arguments, which everybody on the machine can read: it may hold a password.
        environment |= {"TZ": "UTC", "RESTIC_REPOSITORY": self._repository}
        environment.pop("RESTIC_REPOSITORY_FILE", None)
        argv = ("restic", "--password-file", self._password_file, *words)
        try:
            ending = process.ending_with_us(argv, environment)
        except process.ProgramMissing:
            raise StoreUnavailable("restic is not installed; install the package restic") from None
        done = await process.run(ending, timeout_s=_LIMIT_S, env=environment, check=False)
        if _LOCKED in done.stderr and words[0] != "unlock":
            # Locks of processes that are gone: an engine that was killed while it pruned leaves one. Others stay.
            await self._run("unlock", accepted=None)
            done = await process.run(ending, timeout_s=_LIMIT_S, env=environment, check=False)
        if accepted is not None and done.returncode not in accepted:
            said = done.stderr.decode(errors="replace").strip()
            with contextlib.suppress(ValueError):
                said = said[said.index("Fatal: ") + len("Fatal: ") :]
            raise StoreFailed(self._said, said or f"restic ended with status {done.returncode}")
        return done
