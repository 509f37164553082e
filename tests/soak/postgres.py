"""Copies a PostgreSQL under pgbench many times and checks each copy; prints one line a round, and a summary.

    sudo .venv/bin/python -m tests.soak.postgres [ROUNDS] [ext4|xfs|btrfs]

Rounds take turns: clone and backup, pause and freeze. The engine's data is on a file system of its own.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.images.model import TagRecord
from berth.images.service import Images
from berth.store.memory import MemoryRecords
from tests.support import filesystems
from tests.support.engines import Berth, busybox_tar, running
from tests.support.postgres import Round, copied, loaded

TURNS = (("clone", "pause"), ("backup", "freeze"), ("backup", "pause"), ("clone", "freeze"))


async def _image(root: Path, archive: Path) -> None:
    records: MemoryRecords[TagRecord] = MemoryRecords()
    images = Images(Layout(root / "data", root / "exec"), records, Bus(SystemClock()), lambda _: [])
    async for message in images.bootstrap("postgres"):
        assert "error" not in message, message
    with archive.open("wb") as out:
        async for piece in images.save(("postgres",)):
            out.write(piece)
    await images.close()


def main(argv: list[str]) -> int:
    """Do the rounds."""
    count, kind = int(argv[0]) if argv else 20, argv[1] if len(argv) > 1 else "xfs"
    done: list[Round] = []
    with tempfile.TemporaryDirectory(prefix="berth-soak-") as place:
        root = Path(place)
        asyncio.run(_image(root / "recipes", root / "postgres.tar"))
        busybox = busybox_tar(root / "busybox.tar")
        with filesystems.mounted(kind, root, size_mib=6_000) as disk:
            with running(Berth("soak", disk / "berth"), busybox) as engine:
                engine.docker("load", "-i", str(root / "postgres.tar"), timeout=300)
                with loaded(engine, scale=5) as load:
                    for number in range(count):
                        way, mode = TURNS[number % len(TURNS)]
                        one = copied(load, way, mode, f"copy{number}", root)
                        done.append(one)
                        engine.berth("volume", "rm", f"copy{number}")
                        engine.berth("volume", "trash", "empty", "-f")
                        print(
                            f"{number + 1:3}  {way:6}  {mode:6}  {one.seconds:6.2f} s  acknowledged {one.before:7}"
                            f"  in the copy {one.copied:7}  {one.said.splitlines()[-1] if one.said else ''}",
                            flush=True,
                        )
            time.sleep(0.5)  # the file system is let go of by what has just ended
    for way, mode in TURNS:
        times = [one.seconds for one in done if (one.way, one.mode) == (way, mode)]
        if times:
            middle, most = statistics.median(times), max(times)
            print(f"{way} {mode}: {len(times)} rounds, median {middle:.2f} s, most {most:.2f} s")
    print(f"{len(done)} copies on {kind}: every one whole, no acknowledged row lost")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
