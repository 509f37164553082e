"""``run``, ``exec``, ``attach``, ``logs`` as a person uses them: with both clients on Berth, with docker on dockerd."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Engine, docker_client, wait_for
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.compat]

PAIRS = [("docker", "dockerd"), ("docker", "berth"), ("berth", "berth")]


class Seat:
    """One client before one engine."""

    def __init__(self, client: str, engine: Engine) -> None:
        self.engine = engine
        self.program = docker_client() if client == "docker" else str(REPO / ".venv/bin/berth")
        self.run = engine.client(client)
        self._open: list[Terminal] = []

    def terminal(self, *args: str, **size: int) -> Terminal:
        one = Terminal([self.program, *args], self.engine.environment, **size)
        self._open.append(one)
        return one

    def popen(self, *args: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([self.program, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=self.engine.environment)  # fmt: skip

    def close(self) -> None:
        for one in self._open:
            one.close()
        self.engine.wipe_containers()


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-on-{pair[1]}")
def seat(request: pytest.FixtureRequest) -> Iterator[Seat]:
    client, engine = request.param
    one = Seat(client, request.getfixturevalue(f"{engine}_engine"))
    yield one
    one.close()


def test_standard_input_goes_through(seat: Seat) -> None:
    assert seat.run("run", "-i", "--rm", "busybox", "cat", feed="hi\n").out == "hi\n"


def test_a_large_stream_goes_through_unharmed(seat: Seat) -> None:
    text = "".join(f"line {n}\n" for n in range(100_000))
    assert seat.run("run", "-i", "--rm", "busybox", "cat", feed=text).out == text


def test_output_and_errors_stay_apart(seat: Seat) -> None:
    done = seat.run("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("busybox", "true"), 0, ""),
        (("busybox", "false"), 1, ""),
        (("--no-such-flag", "busybox"), 125, "unknown flag: --no-such-flag"),
        (("busybox", "/etc"), 126, "ermission denied"),
        (("busybox", "no-such-command"), 127, "executable file not found in $PATH"),
        (("--network", "no-such-network", "busybox"), 125, "network no-such-network not found"),
        (("-v", "x", "--name", "a/b", "busybox"), 125, "Invalid container name (a/b)"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_exit_codes(seat: Seat, args: tuple[str, ...], code: int, words: str) -> None:
    done = seat.run("run", "--rm", *args, check=False)
    assert done.code == code, done
    assert words in done.err


def test_a_terminal_with_its_size(seat: Seat) -> None:
    one = seat.terminal("run", "-it", "--rm", "--name", "tty", "busybox", "sh", rows=33, columns=101)
    one.expect("/ #")
    one.type("stty size\r")
    one.expect("33 101")
    one.type("while [ \"$(stty size)\" != '44 122' ]; do usleep 50000; done; echo res''ized\r")
    one.expect("resized", meanwhile=lambda: one.resize(44, 122))
    one.type("exit 5\r")
    assert one.wait() == 5


def test_exec_on_a_terminal(seat: Seat) -> None:
    seat.run("run", "-d", "--name", "box", "busybox", "sleep", "600")
    one = seat.terminal("exec", "-it", "-e", "WHO=me", "-w", "/tmp", "box", "sh", rows=30, columns=90)
    one.expect("/tmp #")
    one.type("stty size; echo is-$WHO; tty\r")
    one.expect("30 90")
    one.expect("is-me")
    one.expect("/dev/pts/")
    one.type("exit 9\r")
    assert one.wait() == 9


def test_exec_without_a_terminal(seat: Seat) -> None:
    seat.run("run", "-d", "--name", "box", "busybox", "sleep", "600")
    assert seat.run("exec", "-i", "box", "cat", feed="through\n").out == "through\n"
    done = seat.run("exec", "box", "sh", "-c", "echo a; echo b >&2; exit 4", check=False)
    assert (done.code, done.out, done.err) == (4, "a\n", "b\n")
    assert seat.run("exec", "box", "no-such-command", check=False).code in (126, 127)
    assert seat.run("exec", "-d", "box", "touch", "/tmp/made").ok
    wait_for(lambda: seat.run("exec", "box", "test", "-e", "/tmp/made", check=False).ok, "the detached command")
    seat.run("stop", "-t", "0", "box")
    done = seat.run("exec", "box", "true", check=False)
    assert done.code == 1
    assert "is not running" in done.err


def test_detach_keys_leave_it_running_and_attach_returns(seat: Seat) -> None:
    one = seat.terminal("run", "-it", "--name", "box", "busybox", "sh")
    one.expect("/ #")
    one.type("\x10\x11")
    assert one.wait() == 0
    assert seat.run("ps", "--format", "{{.Names}}").out == "box\n"
    back = seat.terminal("attach", "--detach-keys", "ctrl-x,d", "box")
    back.type("echo re''turned\r")
    back.expect("returned")
    back.type("\x18d")
    back.wait()
    assert seat.run("ps", "--format", "{{.Names}}").out == "box\n"


def test_control_c_reaches_the_container(seat: Seat) -> None:
    one = seat.terminal(
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "trap 'echo caught; exit 42' INT; echo ready; while true; do usleep 10000; done",
    )
    one.expect("ready")
    one.type("\x03")
    one.expect("caught")
    assert one.wait() == 42


def test_logs_follow_until_the_end(seat: Seat) -> None:
    seat.run("run", "-d", "--name", "teller", "busybox", "sh", "-c",
             "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; usleep 20000; done; echo err >&2")  # fmt: skip
    follow = seat.popen("logs", "-f", "teller")
    out, err = follow.communicate(timeout=90)
    assert follow.returncode == 0
    assert out.decode().splitlines() == [f"line {n}" for n in range(1, 21)]
    assert err == b"err\n"
    assert (
        seat.run("logs", "-n", "2", "teller").out == "line 20\n" or seat.run("logs", "-n", "2", "teller").err == "err\n"
    )
    stamped = seat.run("logs", "-t", "teller").out.splitlines()
    assert all(row[:2] == "20" and "T" in row.split()[0] and row.split()[0].endswith("Z") for row in stamped)
    middle = stamped[9].split()[0]
    # of lines that were read at once, as those of a machine that stood still, all have one time
    since, until = (seat.run("logs", how, middle, "teller").out.splitlines() for how in ("--since", "--until"))
    assert since == [row.partition(" ")[2] for row in stamped if row.split()[0] >= middle]
    assert until in ([row.partition(" ")[2] for row in stamped if row.split()[0] < middle],
                     [row.partition(" ")[2] for row in stamped if row.split()[0] <= middle])  # fmt: skip


def test_attach_sees_what_comes_after_and_passes_input(seat: Seat) -> None:
    seat.run("run", "-di", "--name", "echoer", "busybox", "sh", "-c", "while read x; do echo got $x; done")
    attached = seat.popen("attach", "echoer")
    assert attached.stdin is not None
    assert attached.stdout is not None
    attached.stdin.write(b"one\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"got one\n"
    attached.stdin.write(b"two\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"got two\n"
    seat.run("kill", "echoer")
    attached.communicate(timeout=90)


def test_restart_policy_and_exit_code(seat: Seat) -> None:
    seat.run("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "sh", "-c", "exit 3")
    how = ("inspect", "-f", "{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", "again")
    wait_for(lambda: seat.run(*how).out == "2 exited 3\n", "two restarts")


def test_wait_stop_kill_rename_rm(seat: Seat) -> None:
    seat.run(
        "run", "-d", "--name", "box", "busybox", "sh", "-c",
        "trap 'exit 6' TERM; echo ready; while true; do usleep 10000; done",
    )  # fmt: skip
    wait_for(lambda: seat.run("logs", "box").out == "ready\n", "it to heed what it is sent")
    waiting = seat.popen("wait", "box")
    assert seat.run("stop", "box").out == "box\n"
    out, _ = waiting.communicate(timeout=90)
    assert out == b"6\n"
    seat.run("start", "box")
    seat.run("kill", "box")
    wait_for(lambda: seat.run("inspect", "-f", "{{.State.ExitCode}}", "box").out == "137\n", "the kill")
    seat.run("rename", "box", "crate")
    done = seat.run("rm", "box", check=False)
    assert "No such container: box" in done.err
    assert seat.run("rm", "crate").out == "crate\n"


def test_limits_hold(seat: Seat) -> None:
    done = seat.run(
        "run",
        "--rm",
        "-m",
        "16m",
        "busybox",
        "sh",
        "-c",
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=40; echo survived",
        check=False,
    )
    assert "Killed" in done.err, done
    done = seat.run(
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "busybox",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait",
        check=False,
    )
    assert "fork" in done.err


def test_cp_in_and_out(seat: Seat, tmp_path: Path) -> None:
    seat.run("create", "--name", "box", "-v", "cpvol:/data", "busybox", "true")
    source = tmp_path / "tree"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "file").write_text("content\n")
    seat.run("cp", str(source), "box:/data/")
    seat.run("cp", "box:/data/tree/deep/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "content\n"
    assert seat.run("run", "--rm", "-v", "cpvol:/d", "busybox", "cat", "/d/tree/deep/file").out == "content\n"
    seat.run("rm", "box")
    seat.run("volume", "rm", "cpvol")


def test_environment_user_and_working_directory(seat: Seat) -> None:
    done = seat.run(
        "run",
        "--rm",
        "-e",
        "A=1",
        "-u",
        "nobody",
        "-w",
        "/tmp",
        "--hostname",
        "ship",
        "busybox",
        "sh",
        "-c",
        "echo $A; id -u; pwd; hostname",
    )
    assert done.out == "1\n65534\n/tmp\nship\n"
