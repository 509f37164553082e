"""A PostgreSQL under load whose volume is copied meanwhile, and what must be true of every copy."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.engines import Engine, docker_client, wait_for

DATA = "/var/lib/postgresql/data"
#: Rows that are written one transaction each, while pgbench loads the server.
ROWS = 1_000_000


def _run(engine: Engine, name: str, volume: str) -> None:
    engine.docker(
        "run", "-d", "--name", name, "-v", f"{volume}:{DATA}", "-e", "POSTGRES_HOST_AUTH_METHOD=trust",
        "-e", "POSTGRES_INITDB_ARGS=--data-checksums", "--shm-size", "128m", "postgres",
    )  # fmt: skip
    wait_for(lambda: _answers(engine, name), f"PostgreSQL in {name} to answer", limit_s=240)


def _answers(engine: Engine, name: str) -> bool:
    # Over TCP: the server that only prepares the data does not listen there.
    ready = engine.docker("exec", name, "pg_isready", "-q", "-h", "127.0.0.1", check=False)
    if not ready.ok and engine.docker("inspect", "-f", "{{.State.Running}}", name).out != "true\n":
        raise AssertionError(f"PostgreSQL in {name} has ended:\n{engine.docker('logs', name).err}")
    return ready.ok


def query(engine: Engine, name: str, sql: str) -> str:
    return engine.docker("exec", name, "psql", "-U", "postgres", "-qAt", "-c", sql).out.strip()


@dataclass
class Load:
    """A server under load; `acknowledged` is the last row whose commit it has told a client of."""

    engine: Engine
    name: str = "db"
    volume: str = "pg"
    acknowledged: int = 0
    _clients: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, scale: int) -> None:
        _run(self.engine, self.name, self.volume)
        query(self.engine, self.name, "CREATE TABLE rows (id bigint PRIMARY KEY, at timestamptz DEFAULT now())")
        self.engine.docker("exec", self.name, "pgbench", "-U", "postgres", "-i", "-q", "-s", str(scale), "postgres")
        self._exec("pgbench", "-U", "postgres", "-c", "4", "-T", "86400", "-n", "postgres")
        script = f"seq 1 {ROWS} | sed 's/.*/INSERT INTO rows VALUES (&) RETURNING id;/' | psql -U postgres -qAt"
        rows = self._exec("sh", "-c", script)
        threading.Thread(target=self._listen, args=(rows,), daemon=True).start()
        wait_for(lambda: self.acknowledged > 50, "the first rows", limit_s=240)

    def _exec(self, *argv: str) -> "subprocess.Popen[str]":
        client = subprocess.Popen(
            [docker_client(), "exec", self.name, *argv], env=self.engine.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._clients.append(client)
        return client

    def _listen(self, rows: "subprocess.Popen[str]") -> None:
        assert rows.stdout is not None
        for line in rows.stdout:
            self.acknowledged = int(line)

    def stop(self) -> None:
        self.engine.docker("rm", "-f", self.name, check=False)
        for client in self._clients:
            client.kill()
            client.wait()


@contextlib.contextmanager
def loaded(engine: Engine, *, scale: int) -> Iterator[Load]:
    """Lend a server under load."""
    load = Load(engine)
    try:
        load.start(scale)
        yield load
    finally:
        load.stop()


@dataclass(frozen=True)
class Round:
    """What one copy was like."""

    way: str
    mode: str
    said: str
    #: Rows acknowledged before it was begun, rows in the copy, and rows acknowledged when it was done.
    before: int
    copied: int
    after: int
    seconds: float


def copied(load: Load, way: str, mode: str, new: str, files: Path) -> Round:
    """Copy the volume of a server under load by ``clone`` or ``backup``, and check the copy in every way there is."""
    engine, before, began = load.engine, load.acknowledged, time.monotonic()
    if way == "clone":
        said = engine.client("berth")("volume", "clone", "--consistency", mode, load.volume, new, timeout=300).err
    else:
        archive = files / f"{new}.backup"
        said = engine.client("berth")(
            "volume", "backup", "--consistency", mode, "-o", str(archive), load.volume, timeout=300
        ).err
        engine.client("berth")("volume", "restore", "--as", new, str(archive), timeout=300)
        archive.unlink()
    seconds, after = time.monotonic() - began, load.acknowledged
    wait_for(lambda: load.acknowledged > after, "the load to go on")
    checker = f"check-{new}"
    try:
        _run(engine, checker, new)
        rows = _check(engine, checker, before)
        engine.docker("stop", "-t", "60", checker)
    finally:
        engine.docker("rm", "-f", checker, check=False)
    sums = ("--entrypoint", "pg_checksums", "-v", f"{new}:{DATA}", "postgres", "--check", "-D", DATA)
    engine.docker("run", "--rm", *sums)
    return Round(way, mode, said.strip(), before, rows, after, seconds)


def _check(engine: Engine, name: str, before: int) -> int:
    """Check what a copy has; return how many of the rows that are written one by one."""
    rows = int(query(engine, name, "SELECT count(*) FROM rows"))
    assert rows == int(query(engine, name, "SELECT max(id) FROM rows")), "rows are missing in the middle"
    assert rows >= before, f"row {before} was acknowledged before the copy, which has {rows}"
    sums = query(
        engine, name,
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches),"
        " (SELECT sum(tbalance) FROM pgbench_tellers), (SELECT coalesce(sum(delta), 0) FROM pgbench_history)",
    )  # fmt: skip
    assert len(set(sums.split("|"))) == 1, f"a transaction is there in parts: {sums}"
    engine.docker("exec", name, "pg_amcheck", "-U", "postgres", "--install-missing", "--heapallindexed", "postgres",
                  timeout=300)  # fmt: skip
    return rows
