"""Backup and restore beside the usual recipe (`docker run … tar czf`), in one run, on one engine.

    sudo .venv/bin/python -m bench.backup                20,000 small files and 500 MB, about three minutes
    sudo .venv/bin/python -m bench.backup --small        a tenth of that
    sudo .venv/bin/python -m bench.backup --stream 20    memory of the engine while 20 GB go through it (gigabytes)

Prints ratios against the recipe and writes them to bench/results/backup.md. Quote ratios: absolute times drift with the
machine. The data are of two halves: what packs (text) and what does not (noise), as databases with pictures in them.
"""

import argparse
import contextlib
import io
import os
import random
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.support import trees
from tests.support.engines import REPO, Berth, busybox_tar, import_busybox

RESULTS = Path(__file__).parent / "results"


def fill(where: Path, *, files: int, megabytes: int) -> None:
    trees.many(where, files=files, size=5250)
    rng = random.Random(3)
    text = b"".join(b"%08d|a row of a table|%d|of text that repeats itself\n" % (n, n % 97) for n in range(13_000))
    with open(where / "table", "wb") as big:
        big.writelines(rng.randbytes(350_000) + text[:650_000] for _ in range(megabytes))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(engine: Berth, out: Path, rounds: int) -> dict[str, tuple[list[float], int]]:
    """Return for each way the seconds of each round, and the bytes of the archive."""

    def recipe() -> None:
        engine.berth("run", "--rm", "-v", "data:/data", "-v", f"{out}:/backup", "busybox",
                     "tar", "czf", "/backup/recipe", "/data", timeout=600)  # fmt: skip

    def backup(name: str, *how: str) -> Callable[[], None]:
        return lambda: engine.berth("volume", "backup", "-q", *how, "-o", str(out / name), "data", timeout=600)  # type: ignore[func-returns-value]

    def restore_by_recipe() -> None:
        engine.berth("volume", "create", "again")
        engine.berth("run", "--rm", "-v", "again:/data", "-v", f"{out}:/backup", "busybox",
                     "tar", "xzf", "/backup/recipe", "-C", "/data", timeout=600)  # fmt: skip

    def restore() -> None:
        engine.berth("volume", "restore", "-q", "--as", "again", str(out / "zstd"), timeout=600)

    secret = out / "password"
    secret.write_text("secret\n")

    def restic() -> None:
        engine.berth("volume", "backup", "-q", "--repo", str(out / "repository"), "--password-file", str(secret), "data",
                     timeout=600)  # fmt: skip

    ways: dict[str, tuple[Callable[[], object], str]] = {
        "recipe": (recipe, "recipe"),
        "zstd": (backup("zstd"), "zstd"),
        "gzip": (backup("gzip", "--gzip"), "gzip"),
        "restic, first": (restic, ""),
        "restic, unchanged": (restic, ""),
        "verify": (lambda: engine.berth("volume", "verify", str(out / "zstd"), timeout=600), "zstd"),
        "restore by recipe": (restore_by_recipe, "recipe"),
        "restore": (restore, "zstd"),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (work, _) in ways.items():
            took[name].append(timed(work))
            print(f"  {name:18} {took[name][-1]:6.2f} s", flush=True)
            if name.startswith("restore"):
                engine.api("DELETE", "/volumes/again")
        shutil.rmtree(out / "repository")
    return {name: (took[name], (out / file).stat().st_size if file else 0) for name, (_, file) in ways.items()}


def table(found: dict[str, tuple[list[float], int]]) -> str:
    """Print the best times, and the medians of the ratios within each round: what disturbs one disturbs both."""
    rows = ["| | seconds | times as fast | size of the archive |", "|---|---|---|---|"]
    for name, (took, size) in found.items():
        base = found["restore by recipe" if name.startswith("restore") else "recipe"][0]
        ratio = statistics.median(theirs / ours for ours, theirs in zip(took, base, strict=True))
        share = f"{100 * size / found['recipe'][1]:.1f} %" if size else ""
        rows.append(f"| {name} | {min(took):.2f} | {ratio:.1f}× | {share} |")
    return "\n".join(rows) + "\n"


# -- memory


def endless(gigabytes: int) -> Iterator[bytes]:
    """A plain tar of one file of so many gigabytes, made while it is read."""
    piece = random.Random(5).randbytes(1 << 20)
    info = tarfile.TarInfo("big")
    info.size = gigabytes << 30
    yield info.tobuf(tarfile.GNU_FORMAT)
    for _ in range(gigabytes << 10):
        yield piece
    yield bytes(10240)


def resident_kb(pid: int) -> int:
    """Add up the resident memory of a process and all below it."""
    found = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,rss="], capture_output=True, text=True).stdout
    rows = [tuple(map(int, line.split())) for line in found.splitlines()]
    below, total = {pid}, 0
    for own, parent, _ in rows:
        if parent in below:
            below.add(own)
    for own, _, rss in rows:
        total += rss if own in below else 0
    return total


def stream(engine: Berth, gigabytes: int) -> None:
    """Verify a stream of gigabytes; print how the memory of the engine and its helpers goes."""
    assert engine.process is not None
    seen: list[int] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            seen.append(resident_kb(engine.process.pid))  # type: ignore[union-attr]

    thread = threading.Thread(target=watch)
    before = resident_kb(engine.process.pid)
    thread.start()
    began = time.perf_counter()
    argv = [str(REPO / ".venv/bin/berth"), "volume", "verify", "-"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env=engine.environment) as client:
        assert client.stdin is not None
        out: io.BufferedWriter = client.stdin  # type: ignore[assignment]
        out.writelines(endless(gigabytes))
        out.close()
    took = time.perf_counter() - began
    done.set()
    thread.join()
    half = len(seen) // 2
    print(f"{gigabytes} GB in {took:.0f} s ({gigabytes * 1024 / took:.0f} MB/s); engine and helpers: {before >> 10} MB before, "
          f"median {int(statistics.median(seen[:half])) >> 10} MB in the first half, {int(statistics.median(seen[half:])) >> 10} MB "
          f"in the second, {max(seen) >> 10} MB at most")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--stream", type=int, default=0)
    args = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("needs root: an engine of its own")
    scratch = Path(tempfile.mkdtemp(prefix="berth-bench-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        engine = Berth("bench-backup", scratch / "berth", "--log-level", "info")
        stack.callback(engine.close)
        engine.start()
        if args.stream:
            stream(engine, args.stream)
            return 0
        import_busybox(engine, busybox_tar(scratch / "busybox.tar"))
        engine.berth("volume", "create", "data")
        share = 10 if args.small else 1
        fill(Path(engine.api("GET", "/volumes/data").body["Mountpoint"]), files=20_000 // share, megabytes=500 // share)
        (scratch / "out").mkdir()
        text = table(measure(engine, scratch / "out", args.rounds))
    print("\n" + text)
    if not args.small:
        (RESULTS / "backup.md").write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
