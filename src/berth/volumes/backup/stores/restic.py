"""Backups in a repository of restic's: what did not change since the last one is neither read nor stored again.

restic does all of it (deduplication, encryption, retention, checks); see restic(1). What a backup says of itself is a
file beside the data in its snapshot. Each call is a process with a limit that dies with the engine.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import in_thread
from berth.kernel import process
from berth.kernel.files import write_atomically
from berth.volumes.backup.errors import BadBackupOption, StoreFailed, StoreUnavailable
from berth.volumes.backup.stores.base import Entry, Volume

#: How long one call may take, in seconds: the first backup of terabytes over a slow line.
_LIMIT_S: Final = 48 * 3600.0
_TAG: Final = "berth"
_VOLUME_TAG: Final = "volume="
#: What of the engine's environment restic may need: credentials of its backends, where its cache is.
_PASSED: Final = ("AWS_", "RESTIC_", "B2_", "AZURE_", "GOOGLE_", "OS_", "HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME")


class ResticStore:
    """One repository."""

    def __init__(self, repository: str, password_file: str, scratch: Path) -> None:
        if not repository:
            raise BadBackupOption("restic: needs a repository, as in restic:/backups/repo or restic:s3:https://…")
        if not password_file:
            raise BadBackupOption("a repository of restic's needs its password: --password-file FILE (on the engine)")
        self._repository = repository
        self._password_file = password_file
        self._scratch = scratch

    async def save(self, volume: Volume, name: str) -> Entry:
        """Back up into the repository, which is made if there is none."""
        await self._initialised()
        # The same paths each time: by them restic finds the snapshot that a new one is compared with.
        beside = self._scratch / f"{name}.json"
        head = volume.head(name)
        await in_thread(self._scratch.mkdir, 0o700, parents=True, exist_ok=True)
        await in_thread(write_atomically, beside, msgspec.json.encode(head), mode=0o600)
        path = str(volume.path(name))
        said = await self._run(
            "backup", "--json", "--one-file-system", "--tag", _TAG, "--tag", f"{_VOLUME_TAG}{name}", "--host", "berth",
            path, str(beside), accepted=(0, 3),
        )  # fmt: skip
        summary: dict[str, Any] = {}
        for line in said.stdout.splitlines():
            told = msgspec.json.decode(line)
            if told.get("message_type") == "summary":
                summary = told
        if not summary.get("snapshot_id"):
            raise StoreFailed(self._repository, said.stderr.decode(errors="replace").strip() or "restic said nothing")
        end: dict[str, Any] = {
            "files": int(summary["total_files_processed"]) - 1,
            "bytes": int(summary["total_bytes_processed"]),
            "packed": int(summary["data_added"]),
        }
        if said.returncode == 3:  # some files could not be read: the snapshot is there, without them
            end["changed"] = said.stderr.decode(errors="replace").strip().splitlines()[:20]
        return Entry(name=str(summary["snapshot_id"])[:8], volume=name, head=head, end=end)

    async def entries(self) -> Sequence[Entry]:
        """Return the snapshots that are ours."""
        said = await self._run("snapshots", "--json", "--tag", _TAG)
        found = []
        for one in msgspec.json.decode(said.stdout) or ():
            volume = next((tag.removeprefix(_VOLUME_TAG) for tag in one["tags"] if tag.startswith(_VOLUME_TAG)), "")
            stamp = f"{one['time'][:19]}Z".replace("-", "").replace(":", "")
            head = {"volume": volume, "time": one["time"], "paths": one["paths"]}
            found.append(Entry(name=one["short_id"], volume=volume, stamp=stamp, head=head))
        return found

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Return what a backup says of itself."""
        beside = await self._path(name, lambda path: path.endswith(".json"))
        said = await self._run("dump", name, beside)
        found: dict[str, Any] = msgspec.json.decode(said.stdout)
        return found

    async def unpack(self, name: str, into: Path) -> Path:
        """Let restic restore a snapshot, and compare every file with what it has."""
        data = await self._path(name, lambda path: not path.endswith(".json"))
        await self._run("restore", name, "--target", str(into), "--include", data, "--verify")
        return into / data.lstrip("/")

    async def _path(self, name: str, chosen: Callable[[str], bool]) -> str:
        for entry in await self.entries():
            if entry.name == name[:8]:
                return next(str(path) for path in entry.head["paths"] if chosen(path))
        raise StoreFailed(self._repository, f"there is no backup {name}")

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Refuse: a snapshot is no archive."""
        raise StoreFailed(self._repository, f"{name} is a snapshot, not an archive")

    async def verify(self, name: str) -> bool:
        """Check the repository, all its data read."""
        del name
        await self._run("check", "--read-data")
        return True

    async def drop(self, names: Sequence[str]) -> None:
        """Forget snapshots, and remove what no other needs."""
        if names:
            await self._run("forget", "--prune", *names)

    async def _initialised(self) -> None:
        known = await self._run("cat", "config", accepted=None)
        if known.returncode == 0:
            return
        said = known.stderr.decode(errors="replace")
        if "wrong password" in said:
            raise StoreFailed(self._repository, "wrong password")
        await self._run("init")

    async def _run(self, *words: str, accepted: Sequence[int] | None = (0,)) -> process.Finished:
        environment = {key: value for key, value in os.environ.items() if key.startswith(_PASSED)}
        environment["TZ"] = "UTC"
        argv = ("restic", "--repo", self._repository, "--password-file", self._password_file, *words)
        try:
            ending = process.ending_with_us(argv, environment)
        except process.ProgramMissing:
            raise StoreUnavailable("restic is not installed; install the package restic") from None
        done = await process.run(ending, timeout_s=_LIMIT_S, env=environment, check=False)
        if accepted is not None and done.returncode not in accepted:
            said = done.stderr.decode(errors="replace").strip()
            with contextlib.suppress(ValueError):
                said = said[said.index("Fatal: ") + len("Fatal: ") :]
            raise StoreFailed(self._repository, said or f"restic ended with status {done.returncode}")
        return done
