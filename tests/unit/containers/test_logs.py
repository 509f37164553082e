import os
from pathlib import Path

import msgspec
import pytest

from berth.base.aio import Tasks
from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.containers.logs.attributes import details
from berth.containers.logs.entries import BadTime, Renderer, Wish, parse_tail, parse_time, stamp_ns, stamp_text
from berth.containers.logs.rotation import Rotation, log_file, older, open_files, shift
from berth.containers.logs.service import Logs, NoStream, NotReadable, tail_place
from berth.containers.model import ContainerRecord
from berth.containers.options import log_limits
from berth.containers.states import State
from berth.wire.containers import ContainerConfig, HostConfig, LogConfig
from berth.wire.frames import STDERR, STDOUT, frame

STAMP = "2026-11-23T19:57:44.467740001+00:00"
LINES = [
    f"{STAMP} stdout P hel",
    f"{STAMP} stderr F oops",
    f"{STAMP} stdout F lo",
    "2026-11-23T20:57:45.000000000+01:00 stdout F two",
    f"{STAMP} stdout P end",
]


def lines(*texts: str) -> list[bytes]:
    return [text.encode() for text in texts]


def record(*, tty: bool = False, driver: str = "json-file", state: State = State.EXITED) -> ContainerRecord:
    return ContainerRecord(
        id="c" * 64, name="c", created_ns=1, image_id="i", image_ref="i", config=ContainerConfig(tty=tty),
        host_config=HostConfig(log_config=LogConfig(type=driver)), state=state,
    )  # fmt: skip


def test_pieces_are_joined_and_the_last_has_no_line_end() -> None:
    said = Renderer(Wish(stderr=False), framed=False).render(lines(*LINES))
    assert said == b"hello\ntwo\nend"


def test_frames_name_the_stream() -> None:
    said = Renderer(Wish(), framed=True).render(lines(*LINES[1:3]))
    assert said == frame(STDERR, b"oops\n") + frame(STDOUT, b"lo\n")


def test_time_stamps_stand_at_the_beginning_of_lines_only() -> None:
    said = Renderer(Wish(timestamps=True, stderr=False), framed=False).render(lines(*LINES))
    stamp = "2026-11-23T19:57:44.467740001Z"
    assert said.decode() == f"{stamp} hello\n2026-11-23T19:57:45.000000000Z two\n{stamp} end"


def test_details_come_after_the_time_stamp() -> None:
    assert Renderer(Wish(details=True), framed=False).render(lines(LINES[1])) == b" oops\n"


def test_since_and_until() -> None:
    at = stamp_ns(STAMP.encode())
    assert Renderer(Wish(since_ns=at + 1), framed=False).render(lines(*LINES[:4])) == b"two\n"
    renderer = Renderer(Wish(until_ns=at), framed=False)
    assert renderer.render(lines(*LINES[1:4])) == b"oops\nlo\n"
    assert renderer.over


def test_stamps_of_other_time_zones_are_printed_in_utc() -> None:
    assert stamp_text(b"2026-11-23T20:57:45.000000007+01:00") == b"2026-11-23T19:57:45.000000007Z"


def test_junk_lines_are_left_out() -> None:
    assert Renderer(Wish(), framed=False).render(lines("", "x", "a b c d")) == b""


def test_times_are_parsed() -> None:
    assert parse_time("") == 0
    assert parse_time("12.5") == 12_500_000_000
    assert parse_time("1700000000.000000001") == 1_700_000_000_000_000_001
    with pytest.raises(BadTime):
        parse_time("abc")


def test_tail_is_parsed() -> None:
    assert (parse_tail("all"), parse_tail(""), parse_tail("7"), parse_tail("0")) == (None, None, 7, 0)


@pytest.mark.parametrize(
    ("count", "first"),
    [(0, 5), (1, 4), (2, 3), (3, 2), (4, 0), (9, 0)],
)
def test_the_tail_is_found_from_the_end(tmp_path: Path, count: int, first: int) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{line}\n" for line in LINES))
    with path.open("rb") as file:
        assert tail_place(file.fileno(), count)[0] == sum(len(line) + 1 for line in LINES[:first])


def test_the_tail_of_a_long_log_spans_blocks(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"{STAMP} stdout F {number} {'x' * 3000}\n" for number in range(500)))
    with path.open("rb") as file:
        for count in (1, 43, 44, 100, 499, 500, 501):
            file.seek(tail_place(file.fileno(), count)[0])
            assert len(file.read().splitlines()) == min(count, 500)


def test_one_line_longer_than_a_block(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(f"{STAMP} stdout F a\n{STAMP} stdout F {'x' * 300_000}\n{STAMP} stdout F b\n")
    with path.open("rb") as file:
        file.seek(tail_place(file.fileno(), 2)[0])
        assert len(file.read()) > 300_000
        file.seek(tail_place(file.fileno(), 3)[0])
        assert file.tell() == 0


async def test_a_stopped_containers_log_is_read_to_the_end(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / "run")
    file = log_file(layout, "c" * 64)
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"{line}\n" for line in LINES))
    logs = Logs(layout=layout, clock=SystemClock())
    said = b"".join([piece async for piece in logs.read(record(tty=True), Wish(follow=True, tail=2))])
    assert said == b"two\nend"


async def test_no_log_yet_is_empty(tmp_path: Path) -> None:
    logs = Logs(layout=Layout(tmp_path / "data", tmp_path / "run"), clock=SystemClock())
    assert [piece async for piece in logs.read(record(), Wish())] == []


async def test_a_follower_sees_what_comes_also_after_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data", tmp_path / "run")
    file = log_file(layout, "c" * 64)
    file.parent.mkdir(parents=True)
    file.write_text(f"{STAMP} stdout F one\n")
    logs = Logs(layout=layout, clock=SystemClock())
    running = record(tty=True, state=State.RUNNING)
    following = logs.read(running, Wish(follow=True))
    assert await anext(following) == b"one\n"
    with file.open("a") as out:
        out.write(f"{STAMP} stdout F two\n{STAMP} stdout P th")
    assert await anext(following) == b"two\n"
    with file.open("a") as out:
        out.write("ree\n")
    assert await anext(following) == b"three"
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{STAMP} stdout F \n{STAMP} stdout F four\n")
    fresh.rename(file)
    assert await anext(following) == b"\nfour\n"
    with file.open("a") as out:
        out.write(f"{STAMP} stdout F last\n")
    await logs.ended(running)
    assert b"".join([piece async for piece in following]) == b"last\n"


async def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    logs = Logs(layout=Layout(tmp_path, tmp_path), clock=SystemClock())
    with pytest.raises(NoStream):
        logs.check(record(), Wish(stdout=False, stderr=False))
    with pytest.raises(NotReadable):
        logs.check(record(driver="none"), Wish())


def test_options_say_what_stands_among_the_details() -> None:
    chosen = {
        "labels": "a, b",
        "labels-regex": "^x",
        "env": "E",
        "env-regex": "Z$",
        "tag": "{{.Name}}/{{.ID}} {{.Odd}}",
    }
    one = ContainerRecord(
        id="c" * 64, name="/web", created_ns=1, image_id="sha256:i", image_ref="i",
        config=ContainerConfig(labels={"a": "1", "xy": "p q", "no": "2"}, env=["E=5", "FZ=6", "G=7", "bare"]),
        host_config=HostConfig(log_config=LogConfig(type="json-file", config=chosen)),
    )  # fmt: skip
    assert details(one) == b"E=5,FZ=6,a=1,tag=web%2Fcccccccccccc+%7B%7B.Odd%7D%7D,xy=p+q"
    assert details(record()) == b""
    said = Renderer(Wish(details=True, timestamps=True), framed=False, details=b"a=1").render(lines(LINES[1]))
    assert said == b"2026-11-23T19:57:44.467740001Z a=1 oops\n"


def test_a_log_in_several_files_is_one(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    for name, text in (("ctr.log.2", "a\nb\n"), ("ctr.log.1", "c\n"), ("ctr.log.0", "d\ne\n")):
        (tmp_path / name).write_text(text)
    path.hardlink_to(tmp_path / "ctr.log.0")  # the newest has two names
    (tmp_path / "ctr.log.tmp").write_text("of the monitor")

    def read() -> bytes:
        fds = open_files(path)
        try:
            return b"".join(os.read(fd, 100) for fd in fds)
        finally:
            for fd in fds:
                os.close(fd)

    assert read() == b"a\nb\nc\nd\ne\n"
    path.unlink()
    path.write_text("f\n")  # the monitor has begun a new one
    assert read() == b"a\nb\nc\nd\ne\nf\n"
    shift(path, 3)
    assert read() == b"c\nd\ne\nf\n"
    assert sorted(one.name for one in older(path)) == ["ctr.log.1", "ctr.log.2"]


@pytest.mark.parametrize(
    ("driver", "options", "wanted"),
    [
        ("json-file", {}, (0, 1, 0)),
        ("json-file", {"max-size": "-1", "max-file": "3"}, (0, 3, 0)),
        ("json-file", {"max-size": "10k"}, (10_240, 1, 10_240)),
        ("json-file", {"max-size": "10k", "max-file": "3"}, (10_240, 3, 64 << 20)),
        ("json-file", {"max-size": "1g", "max-file": "2"}, (1 << 30, 2, 4 << 30)),
        ("local", {}, (20 << 20, 5, 80 << 20)),
        ("local", {"max-file": "1"}, (20 << 20, 1, 20 << 20)),
    ],
)
def test_limits(driver: str, options: dict[str, str], wanted: tuple[int, int, int]) -> None:
    limits = log_limits(LogConfig(type=driver, config=options))
    assert (limits.max_bytes, limits.files, limits.monitors_bytes) == wanted


async def test_a_file_begun_just_before_the_end_counts_among_those_that_are_kept(tmp_path: Path) -> None:
    layout, tasks = Layout(tmp_path, tmp_path), Tasks()
    limits = LogConfig(type="json-file", config={"max-size": "1k", "max-file": "2"})
    one = msgspec.structs.replace(record(), host_config=HostConfig(log_config=limits))
    path = log_file(layout, one.id)
    path.parent.mkdir(parents=True)
    for name, text in (("ctr.log.1", "oldest"), ("ctr.log.0", "full"), ("ctr.log", "new")):
        path.with_name(name).write_text(text)
    rotation = Rotation(layout=layout, tasks=tasks)
    rotation.started(one)
    await rotation.ended(one)
    await tasks.close()
    assert {each.name: each.read_text() for each in path.parent.iterdir()} == {
        "ctr.log": "new", "ctr.log.0": "new", "ctr.log.1": "full",
    }  # fmt: skip
