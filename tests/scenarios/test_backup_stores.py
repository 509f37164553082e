"""Backups the engine keeps by itself: directories, buckets, restic's repositories, and schedules."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from berth.kernel.fingerprint import GRAIN_NS
from berth.store.sqlite import Stores
from berth.volumes.backup.automatic import RunRecord
from tests.scenarios.test_backups import data, filled, left, names
from tests.support import trees
from tests.support.engines import Berth, running, wait_for

pytestmark = pytest.mark.root
S3 = {"AWS_ENDPOINT_URL": "http://127.0.0.1:5005", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s",
      "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip


class CloudBerth(Berth):
    """A berthd whose cloud is on its own loopback."""

    def daemon_environment(self) -> dict[str, str]:
        return {**super().daemon_environment(), **S3}


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    root = tmp_path_factory.mktemp("stores")
    with running(CloudBerth("stores", root / "berth"), busybox) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _wiped(berth: Berth) -> Iterator[None]:
    yield
    berth.wipe_containers()
    for name in names(berth):
        berth.api("DELETE", f"/volumes/{name}")


@pytest.fixture(scope="module")
def bucket(berth: Berth, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "5005"]
    with subprocess.Popen(berth.spaces.inside(argv), stdout=log, stderr=log, env={**os.environ, **S3}) as server:
        make = "import boto3; boto3.client('s3').create_bucket(Bucket='backups')"

        def made() -> bool:
            done = subprocess.run(berth.spaces.inside([sys.executable, "-c", make]), env={**os.environ, **S3},
                                  capture_output=True)  # fmt: skip
            return done.returncode == 0

        wait_for(made, "the bucket", limit_s=120)
        yield "s3://backups/host"
        server.terminate()
    log.close()


def rows(engine: Berth, *args: str) -> list[dict[str, str]]:
    out = engine.berth("volume", "backup", "ls", "--format", "json", *args).out
    return [json.loads(line) for line in out.splitlines()]


def round_trip(engine: Berth, where: tuple[str, ...], before: dict[bytes, trees.Seen], name: str) -> None:
    engine.berth("volume", "verify", *where, name)
    engine.berth("volume", "restore", *where, "--as", "copy", name)
    assert trees.difference(before, trees.look(data(engine, "copy")), but=["sparse"]) == []
    engine.berth("volume", "rm", "copy")
    (data(engine, "db") / "plain").write_text("lost")
    engine.berth("volume", "restore", *where, "--overwrite", name)
    assert trees.difference(before, trees.look(data(engine, "db")), but=["sparse"]) == []
    assert left(engine) == []


def test_a_directory_of_the_engine(berth: Berth, tmp_path: Path) -> None:
    before = filled(berth, "db")
    said = berth.berth("volume", "backup", "--target", str(tmp_path), "db").out
    assert said.startswith("db: 30 files, ")
    (row,) = rows(berth, "--target", str(tmp_path))
    assert (row["Volume"], row["State"], row["Files"]) == ("db", "complete", "30")
    assert [path.name for path in tmp_path.iterdir()] == [row["Name"]]
    round_trip(berth, ("--target", str(tmp_path)), before, row["Name"])
    missing = berth.berth("volume", "backup", "--target", "/no/such/place", "db", check=False)
    assert "no such file or directory" in missing.err


def test_a_bucket(berth: Berth, bucket: str) -> None:
    before = filled(berth, "db")
    key = _public(berth)
    with ThreadPoolExecutor() as pool:  # three within a second, or nearly so: none takes another's place
        list(pool.map(lambda _: berth.berth("volume", "backup", "-o", bucket, "--encrypt", key, "db"), range(3)))
    second = time.time() // 1
    wait_for(lambda: time.time() // 1 > second, "another second, so that the plain one is the last")
    berth.berth("volume", "backup", "-o", bucket, "db")
    found = rows(berth, bucket)
    assert sorted(row["State"] for row in found) == ["complete", *["encrypted"] * 3]
    assert len({row["Name"] for row in found}) == 4
    plain = next(row["Name"] for row in found if row["State"] == "complete")
    berth.berth("volume", "verify", f"{bucket}/{plain}")
    berth.berth("volume", "restore", "--as", "copy", f"{bucket}/{plain}")
    assert trees.difference(before, trees.look(data(berth, "copy"))) == []
    berth.berth("volume", "backup", "prune", bucket, "--keep-last", "1")
    assert [row["Name"] for row in rows(berth, bucket)] == [plain]
    refused = berth.berth("volume", "backup", "-o", "s3://nowhere/x", "db", check=False)
    assert "bucket does not exist" in refused.err


def _public(berth: Berth) -> str:
    done = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True)
    return done.stdout.split("public key: ")[1].split("\n")[0]


def test_a_repository_of_restics(berth: Berth, tmp_path: Path) -> None:
    # restic 0.14 keeps no holes, and the times and owners of all else
    before = filled(berth, "db")
    (tmp_path / "password").write_text("secret\n")
    where = ("--repo", str(tmp_path / "repo"), "--password-file", str(tmp_path / "password"))
    written = time.time_ns()
    wait_for(lambda: time.time_ns() > written + GRAIN_NS + 50_000_000, "all to be old enough to count as settled")
    assert "db: 32 files" in berth.berth("volume", "backup", *where, "db").out  # it counts each name of a hard link
    (first,) = rows(berth, *where)
    assert first["Unchanged"] == ""
    again = berth.berth("volume", "backup", *where, "db").out
    assert f"in restic:{tmp_path}/repo as {first['Name']} (unchanged since 20" in again
    (still,) = rows(berth, *where)
    assert still["Unchanged"] >= still["Time"] == first["Time"]
    assert "UNCHANGED AT" in berth.berth("volume", "backup", "ls", *where).out
    assert " added)" in berth.berth("volume", "backup", *where, "--reread", "db").out
    found = rows(berth, *where)
    assert [row["Volume"] for row in found] == ["db", "db"]
    round_trip(berth, where, before, found[0]["Name"])
    berth.berth("volume", "backup", "prune", *where, "--keep-last", "1")
    assert len(rows(berth, *where)) == 1
    (tmp_path / "password").write_text("wrong\n")
    assert "wrong password" in berth.berth("volume", "backup", *where, "db", check=False).err


def test_labels_make_backups_and_remove_old_ones(berth: Berth, tmp_path: Path) -> None:
    labels = {"berth.backup.schedule": "every 60m", "berth.backup.target": str(tmp_path), "berth.backup.keep-last": "1"}
    berth.api("POST", "/volumes/create", {"Name": "db", "Labels": labels})
    (data(berth, "db") / "row").write_text("one")
    berth.api("POST", "/volumes/create", {"Name": "odd", "Labels": labels | {"berth.backup.schedule": "at times"}})

    def schedules() -> dict[str, dict[str, str]]:
        return {one["Volume"]: one for one in berth.api("GET", "/berth/volumes/schedules").body}

    assert 'invalid schedule "at times"' in schedules()["odd"]["Error"]
    assert schedules()["db"]["Last"] == ""
    # An engine that was down when a run was due makes up for it, once.
    wait_for(lambda: schedules()["db"]["Next"], "the schedule to be seen", limit_s=120)
    berth.stop()
    asyncio.run(_rewind(berth, tmp_path / "runtime.db", minutes=100))
    berth.start()
    wait_for(lambda: schedules()["db"]["Last"], "the backup that was missed", limit_s=120)
    first = wait_for(lambda: list(tmp_path.glob("db-*.tar.zst")), "its file")
    wait_for(lambda: not schedules()["db"]["Running"], "its end")
    assert schedules()["db"] | {"Last": "", "Next": ""} == {
        "Volume": "db", "Schedule": "every 60m", "Target": str(tmp_path), "Last": "", "Next": "",
        "File": first[0].name, "Error": "", "Running": ""}  # fmt: skip
    assert berth.berth("volume", "verify", str(first[0])).ok
    assert [row["Result"] for row in rows(berth, "--schedules") if row["Volume"] == "db"] == [first[0].name]
    # The next one takes its place; one that fails says so, and the old one stays.
    berth.stop()
    asyncio.run(_rewind(berth, tmp_path / "runtime.db", minutes=100))
    berth.start()
    wait_for(lambda: [path for path in tmp_path.glob("db-*") if path != first[0]] and not first[0].exists(),
             "the second backup in place of the first", limit_s=120)  # fmt: skip
    berth.stop()
    kept = next(tmp_path.glob("db-*"))
    tmp_path.rename(tmp_path.with_name("away"))
    asyncio.run(_rewind(berth, tmp_path.with_name("away") / "runtime.db", minutes=100))
    berth.start()
    try:
        wait_for(lambda: schedules()["db"]["Error"], "the failure", limit_s=120)
        assert "no such file or directory" in schedules()["db"]["Error"]
        assert schedules()["db"]["File"] == kept.name
    finally:
        tmp_path.with_name("away").rename(tmp_path)


async def _rewind(engine: Berth, runtime: Path, *, minutes: int) -> None:
    """Let all scheduled backups have been made so much earlier."""
    stores = Stores(engine.root / "data/berth.db", runtime)
    records = stores.durable("backup_runs", RunRecord)
    for one in records.all():
        await records.put(one.name, msgspec.structs.replace(one, from_ns=one.from_ns - minutes * 60_000_000_000))
    stores.close()
