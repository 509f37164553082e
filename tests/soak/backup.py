"""Backs up, verifies and restores one large volume, and prints what memory engine and helpers have meanwhile.

    sudo nice .venv/bin/python -m tests.soak.backup [GIGABYTES]         20 unless said otherwise; ten minutes

The volume is on a btrfs of its own, in a sparse file: its gigabytes share blocks, and what is restored is packed there,
so that a few gigabytes of disk are enough. Fails if the memory of a process grows with what has passed through it.
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from tests.support.engines import REPO, Berth, busybox_tar, running

#: Programs as they are told apart by their command lines.
PROGRAMS = {"pack_child": "packs", "restore_child": "unpacks", "tar": "tar", "daemon": "engine", "berthd": "engine"}
#: A process may have so many MB more in the second half than in the first, in its median.
SLACK_MB = 32
EVERY_S = 1.0
TOLD_S = 15.0


def disk(place: Path, gigabytes: int) -> Path:
    """Mount a btrfs that packs what is written to it."""
    image, at = place / "btrfs.img", place / "btrfs"
    at.mkdir()
    with image.open("wb") as out:
        out.truncate((2 * gigabytes + 8) << 30)
    subprocess.run(["mkfs.btrfs", "-q", "-f", image], check=True)
    subprocess.run(["mount", "-o", "loop,compress=zstd:1", image, at], check=True)
    return at


def fill(where: Path, gigabytes: int) -> None:
    """One gigabyte that packs to a tenth, and as many others that share its blocks."""
    rng = random.Random(7)
    text = b"".join(b"%08d|a row of a table|%d|of text that repeats itself\n" % (n, n % 97) for n in range(20_000))
    with (where / "0").open("wb") as out:
        for _ in range(1 << 10):
            out.write(rng.randbytes(64 << 10) + text[: (1 << 20) - (64 << 10)])
    for number in range(1, gigabytes):
        subprocess.run(["cp", "--reflink=always", where / "0", where / str(number)], check=True)


def memory(pid: int) -> dict[str, int]:
    """Return what the engine and each kind of program below it have resident, in MB."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,rss=,args="], capture_output=True, text=True).stdout
    rows = [line.split(None, 3) for line in listed.splitlines()]
    below, found = {pid}, defaultdict(int)
    for own, parent, rss, args in rows:
        if int(parent) in below or int(own) == pid:
            below.add(int(own))
            words = args.split()[:6]
            name = "engine" if int(own) == pid else next(
                (said for part, said in PROGRAMS.items() if any(part in os.path.basename(word) for word in words)), ""
            )  # fmt: skip
            if name:
                found[name] += int(rss) >> 10
    return dict(found)


def watched(engine: Berth, what: str, *words: str) -> bool:
    """Run a command of the client's, print how memory goes, and tell whether it stayed as it was."""
    assert engine.process is not None
    seen: dict[str, list[int]] = defaultdict(list)
    began = told = time.monotonic()
    argv = [str(REPO / ".venv/bin/berth"), "volume", *words]
    with subprocess.Popen(argv, env=engine.environment, stdout=subprocess.PIPE, text=True) as client:
        while client.poll() is None:
            time.sleep(EVERY_S)
            now = memory(engine.process.pid)
            for name, size in now.items():
                seen[name].append(size)
            if time.monotonic() - told > TOLD_S:
                told = time.monotonic()
                shown = "  ".join(f"{name} {size:4} MB" for name, size in sorted(now.items()))
                print(f"{what:8} {told - began:5.0f} s  {shown}", flush=True)
        assert client.stdout is not None
        print(f"{what:8} {client.stdout.read().strip()}; {time.monotonic() - began:.0f} s, status {client.returncode}")
    flat = client.returncode == 0
    for name, sizes in sorted(seen.items()):
        half = len(sizes) // 2
        if half < 2:
            continue
        first, second = statistics.median(sizes[:half]), statistics.median(sizes[half:])
        grows = second > first + SLACK_MB
        flat = flat and not grows
        print(f"{what:8} {name}: median {first:.0f} MB in the first half, {second:.0f} MB in the second, "
              f"{max(sizes)} MB at most{': IT GROWS' if grows else ''}", flush=True)  # fmt: skip
    return flat


def main(argv: list[str]) -> int:
    """Do all three."""
    gigabytes = int(argv[0]) if argv else 20
    with tempfile.TemporaryDirectory(prefix="berth-soak-") as scratch:
        place = Path(scratch)
        at = disk(place, gigabytes)
        try:
            with running(Berth("soak", at / "berth"), busybox_tar(place / "busybox.tar")) as engine:
                engine.berth("volume", "create", "large")
                fill(Path(engine.api("GET", "/volumes/large").body["Mountpoint"]), gigabytes)
                file = str(place / "backup.tar.zst")
                done = [
                    watched(engine, "backup", "backup", "-o", file, "large"),
                    watched(engine, "verify", "verify", file),
                    watched(engine, "restore", "restore", "--as", "again", file),
                ]
                sizes = [path.stat().st_size for path in
                         Path(engine.api("GET", "/volumes/again").body["Mountpoint"]).iterdir()]  # fmt: skip
                print(f"{len(sizes)} files of {sum(sizes) >> 30} GB restored; the archive has "
                      f"{os.path.getsize(file) >> 20} MB", flush=True)  # fmt: skip
                engine.berth("volume", "rm", "again", "large")
        finally:
            subprocess.run(["umount", at], check=True)
    return 0 if all(done) and sum(sizes) == gigabytes << 30 else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
