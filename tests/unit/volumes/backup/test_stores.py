"""Stores: which one a text names, and what is condemned there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.kernel import process
from berth.kernel.sealed import comment
from berth.store.memory import MemoryRecords
from berth.volumes.backup.errors import BadBackupOption, StoreFailed
from berth.volumes.backup.model import BackupOptions, head_of, parse_pack, parse_recipients
from berth.volumes.backup.stores.base import Entry, condemned
from berth.volumes.backup.stores.directory import DirectoryStore
from berth.volumes.backup.stores.opening import open_store
from berth.volumes.backup.stores.restic import Repositories, ResticStore, unreadable
from berth.volumes.backup.stores.s3 import S3Store
from berth.volumes.backup.stores.turns import Turns
from berth.volumes.backup.unchanged import Marks
from berth.volumes.model import VolumeRecord

EVERY = Repositories(Path("/scratch"), Marks(MemoryRecords(), list, SystemClock()), Turns())


@pytest.mark.parametrize(
    ("text", "kind"),
    [("/backups", DirectoryStore), ("s3://bucket", S3Store), ("s3://bucket/a/b", S3Store), ("restic:/r", ResticStore)],
)
def test_places(text: str, kind: type) -> None:
    assert isinstance(open_store(text, "/password", EVERY), kind)


@pytest.mark.parametrize("text", ["", "backups", "s3://", "s3://UPPER/x", "ftp://x", "restic:"])
def test_no_places(text: str) -> None:
    with pytest.raises(BadBackupOption):
        open_store(text, "/password", EVERY)


def test_a_repository_needs_its_password() -> None:
    with pytest.raises(BadBackupOption, match="--password-file"):
        open_store("restic:/r", "", EVERY)


def test_each_volume_is_judged_by_itself_and_what_is_cut_short_counts_for_nothing() -> None:
    entries = [
        Entry(name="a1", volume="a", stamp="20261101T000000Z"),
        Entry(name="a2", volume="a", stamp="20261102T000000Z"),
        Entry(name="a3", volume="a", stamp="20261103T000000Z", state="cut short"),
        Entry(name="b1", volume="b", stamp="20261001T000000Z"),
    ]
    assert [one.name for one in condemned(entries, {"last": 1})] == ["a1", "a3"]
    assert condemned(entries, {"last": 0}) == []


def test_packing_and_keys() -> None:
    assert parse_pack("") == ("zstd", 3)
    assert parse_pack("gzip") == ("gzip", 2)
    for wrong in ("zip", "zstd:0", "zstd:x", "none:1"):
        with pytest.raises(BadBackupOption):
            parse_pack(wrong)
    with pytest.raises(BadBackupOption, match="secret key"):
        parse_recipients(["AGE-SECRET-KEY-1QQQ"])
    with pytest.raises(BadBackupOption, match="invalid key"):
        parse_recipients(["bob"])


def test_a_backup_does_not_tell_the_password_of_a_share() -> None:
    options = {"type": "cifs", "device": "//nas/db", "o": "username=u,password=geheim,vers=3.0"}
    record = VolumeRecord(name="db", options=options)
    head = head_of(record, BackupOptions(), 0, "berth", {})
    assert head["options"] == {**options, "o": "username=u,password=********,vers=3.0"}
    assert record.options == options


async def test_a_backup_that_goes_while_a_directory_is_looked_through_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of several volumes go side by side to one directory, and each prunes."""
    for volume in ("a", "b"):
        head = comment(b"head", {"volume": volume, "time": "2026-11-24T00:00:00Z"})
        (tmp_path / f"{volume}-20261124T000000Z.tar").write_bytes(head)
    is_file = Path.is_file

    def removed_next(path: Path) -> bool:
        there = is_file(path)
        if path.name.startswith("a-"):
            path.unlink()
        return there

    monkeypatch.setattr(Path, "is_file", removed_next)
    assert [one.volume for one in await DirectoryStore(tmp_path).entries()] == ["b"]


def test_what_restic_could_not_read_is_told_from_what_went_meanwhile() -> None:
    gone = b'{"message_type":"error","error":{"Op":"lstat","Path":"/v/a","Err":2},"during":"archival","item":"/v/a"}\n'
    newer = b'{"message_type":"error","error":{"message":"lstat /v/a: no such file or directory"},"item":"/v/a"}\n'
    broken = b'{"message_type":"error","error":{"Op":"read","Path":"/v/b","Err":5},"during":"archival","item":"/v/b"}\n'
    last = b"Warning: at least one source file could not be read\n"
    assert unreadable(gone + newer + last) == ""
    assert unreadable(gone + broken + last) == "/v/b: input/output error"


async def test_where_a_repository_is_does_not_tell_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Sequence[str], Mapping[str, str]]] = []

    async def run(argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool) -> process.Finished:
        del timeout_s, check
        seen.append((argv, env))
        return process.Finished(1, b"", b"Fatal: unable to open repository")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(process, "ending_with_us", lambda argv, _: argv)
    store = open_store("restic:rest:https://me:geheim@backups.example/db", "/password", EVERY)
    with pytest.raises(StoreFailed) as caught:
        await store.entries()
    ((argv, env),) = seen
    assert not any("geheim" in word for word in argv)
    assert env["RESTIC_REPOSITORY"] == "rest:https://me:geheim@backups.example/db"
    assert str(caught.value) == "rest:https://***@backups.example/db: unable to open repository"
