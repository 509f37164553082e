"""``max-size`` and ``max-file``: several files, read as one log, followed from each to the next."""

import subprocess
from pathlib import Path

import pytest

from tests.support.engines import Berth, Engine, docker_client, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: So many lines are written, in portions, so that an engine that looks now and then sees the file grow.
LINES = 3000
#: The same, a portion of more than a file each time it is told to go on.
TOLD = "i=1; while read go; do n=0; while [ $n -lt 300 ]; do echo line-$i; i=$((i+1)); n=$((n+1)); done; done"
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
    writer = subprocess.Popen(
        [docker_client(), "run", "-i", "--name", "rotated", *LIMITS, "busybox", "sh", "-c", TOLD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=place.environment,
    )  # fmt: skip
    assert writer.stdin is not None
    assert writer.stdout is not None
    for portion in range(300, LINES + 1, 300):
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
        while (line := writer.stdout.readline()) != b"line-%d\n" % portion:
            assert line, "it ended"
        path = Path(place.docker("inspect", "-f", "{{.LogPath}}", "rotated").out.strip())
        wait_for(lambda path=path: path.exists() and path.stat().st_size < 20_000, "the log to be rotated")  # type: ignore[misc]
    writer.communicate(timeout=90)
    # what is too old is taken away a moment after the rotation
    wait_for(lambda: len(_files(place, "rotated")) == 3, "three files to be left")
    files = _files(place, "rotated")
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
    out, _ = follower.communicate(timeout=90)
    assert out == "" or _numbers(out)[0] == 1
    path = engine.data_root / "containers"
    last = f"line-{LINES}\n"
    wait_for(lambda: any(last in file.read_text() for file in path.glob("*/ctr.log")), "all to be written")
    engine.start()
    wait_for(lambda: len(_files(engine, "away")) > 1, "the log to be rotated")
    numbers = _numbers(engine.docker("logs", "away").out)
    assert numbers == list(range(1, LINES + 1))
    assert _numbers(engine.docker("logs", "--tail", "1", "away").out) == [LINES]
