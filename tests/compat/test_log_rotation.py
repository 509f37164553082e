"""``max-size`` and ``max-file``: several files, read as one log, followed from each to the next."""

import subprocess
from pathlib import Path

import pytest

from tests.support.engines import Berth, Engine, docker_client, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: So many lines are written, in portions, so that an engine that looks now and then sees the file grow.
LINES = 3000
WRITE = f"i=1; while [ $i -le {LINES} ]; do echo line-$i; [ $((i % 150)) = 0 ] && usleep 100000; i=$((i+1)); done"
LIMITS = ("--log-opt", "max-size=20k", "--log-opt", "max-file=3")


def _numbers(text: str) -> list[int]:
    return [int(line.removeprefix("line-")) for line in text.splitlines()]


def _files(engine: Engine, name: str) -> list[Path]:
    """Return the files of a log; one that has two names is one."""
    path = Path(engine.docker("inspect", "-f", "{{.LogPath}}", name).out.strip())
    found = {one.stat().st_ino: one for one in path.parent.iterdir() if one.name.startswith(path.name)}
    return list(found.values())


def test_full_files_are_kept_and_read_as_one_log(place: Engine) -> None:
    place.docker("run", "--name", "rotated", *LIMITS, "busybox", "sh", "-c", WRITE)
    files = _files(place, "rotated")
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) < 200_000
    numbers = _numbers(place.docker("logs", "rotated").out)
    assert numbers == list(range(numbers[0], LINES + 1)), "there is a hole"
    # More than any one file has: lines are about 60 to 90 bytes in it.
    assert 1 < numbers[0] < LINES - max(file.stat().st_size for file in files) // 90
    assert _numbers(place.docker("logs", "--tail", "5", "rotated").out) == list(range(LINES - 4, LINES + 1))
    many = len(numbers) - 3
    assert _numbers(place.docker("logs", "--tail", str(many), "rotated").out) == numbers[3:]
    assert _numbers(place.docker("logs", "--tail", str(LINES * 2), "rotated").out) == numbers


def test_a_follower_goes_on_from_file_to_file(place: Engine) -> None:
    place.docker("run", "-d", "--name", "followed", *LIMITS, "busybox", "sh", "-c", f"sleep 1; {WRITE}; sleep 1")
    done = place.docker("logs", "-f", "followed")
    numbers = _numbers(done.out)
    if place.kind == "dockerd":
        # The original repeats lines, or leaves some out, where it rotates faster than it follows.
        assert (numbers[0], LINES in numbers) == (1, True)
    else:
        assert numbers == list(range(1, LINES + 1))


def test_one_file_is_all_there_is_without_a_number(place: Engine) -> None:
    place.docker("run", "--name", "single", "--log-opt", "max-size=20k", "busybox", "sh", "-c", WRITE)
    # The original keeps a second name for a moment.
    assert len(_files(place, "single")) <= (2 if place.kind == "dockerd" else 1)
    numbers = _numbers(place.docker("logs", "single").out)
    assert numbers == list(range(numbers[0], LINES + 1))


def test_an_engine_that_was_away_rotates_what_grew_meanwhile(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("run", "-d", "--name", "away", *LIMITS, "busybox", "sh", "-c", f"sleep 2; {WRITE}; sleep 1000")
    follower = subprocess.Popen(
        [docker_client(), "logs", "-f", "away"], env=engine.environment, stdout=subprocess.PIPE, text=True
    )
    engine.kill9()
    out, _ = follower.communicate(timeout=30)
    assert out == "" or _numbers(out)[0] == 1
    path = engine.data_root / "containers"
    wait_for(
        lambda: any(file.stat().st_size > 150_000 for file in path.glob("*/ctr.log")), "the log to grow", limit_s=60
    )
    engine.start()
    wait_for(lambda: len(_files(engine, "away")) > 1, "the log to be rotated")
    numbers = _numbers(engine.docker("logs", "away").out)
    assert numbers == list(range(1, len(numbers) + 1))
    wait_for(lambda: _numbers(engine.docker("logs", "--tail", "1", "away").out) == [LINES], "the last line", limit_s=60)
    numbers = _numbers(engine.docker("logs", "away").out)
    assert numbers == list(range(numbers[0], LINES + 1))
