"""What goes into and out of containers, byte for byte: run, attach, exec, logs, cp, under pipes and terminals."""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tarfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import needs_original_20
from tests.support.engines import Berth, Engine, docker_client, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

DETACH = b"\x10\x11"


@pytest.fixture
def cleaned(engine: Engine) -> Iterator[Engine]:
    yield engine
    engine.wipe_containers()


@pytest.fixture
def clean_berth(berth_engine: Berth) -> Iterator[Berth]:
    yield berth_engine
    berth_engine.wipe_containers()


def raw(engine: Engine, *args: str, feed: bytes = b"", timeout: float = 240) -> subprocess.CompletedProcess[bytes]:
    """Run the docker client with bytes in and out."""
    return subprocess.run(
        [docker_client(), *args], input=feed, capture_output=True, timeout=timeout, env=engine.environment, check=False
    )


class Terminal:
    """The docker client under a terminal of ours."""

    def __init__(self, engine: Engine, *args: str, height: int = 24, width: int = 80) -> None:
        self.master, slave = pty.openpty()
        self.said = b""
        self.size(height, width)
        self.client = subprocess.Popen(
            [docker_client(), *args], stdin=slave, stdout=slave, stderr=slave, env=engine.environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def size(self, height: int, width: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def expect(self, text: bytes, limit_s: float = 60) -> None:
        """Read until `text` was printed; it and what came before is forgotten."""
        end = time.monotonic() + limit_s
        while text not in self.said:
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{text!r} was not printed, but {self.said!r}")
        self.said = self.said.split(text, 1)[1]

    def _read(self, wait_s: float) -> bool:
        if wait_s <= 0 or not select.select([self.master], [], [], wait_s)[0]:
            return False
        try:
            piece = os.read(self.master, 65536)
        except OSError:
            return False
        self.said += piece
        return bool(piece)

    def ended(self, limit_s: float = 60) -> int:
        """Read to the end and return the client's status."""
        end = time.monotonic() + limit_s
        while self.client.poll() is None and time.monotonic() < end:
            self._read(0.1)
        return self.client.wait(10)

    def close(self) -> None:
        if self.client.poll() is None:
            self.client.kill()
            self.client.wait()
        os.close(self.master)


@contextlib.contextmanager
def terminal(engine: Engine, *args: str, height: int = 24, width: int = 80) -> Iterator[Terminal]:
    one = Terminal(engine, *args, height=height, width=width)
    try:
        yield one
    finally:
        one.close()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- pipes ----------------------------------------------------------------------------------------------------------


def test_end_of_input_reaches_the_process_and_its_output_comes_back(cleaned: Engine) -> None:
    assert raw(cleaned, "run", "-i", "--rm", "busybox", "cat", feed=b"hi\n").stdout == b"hi\n"


def test_megabytes_pass_unharmed_in_both_directions(cleaned: Engine) -> None:
    data = os.urandom(8_000_000)
    done = raw(cleaned, "run", "-i", "--rm", "busybox", "cat", feed=data)
    assert digest(done.stdout) == digest(data)
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    done = raw(cleaned, "exec", "-i", "box", "cat", feed=data)
    assert digest(done.stdout) == digest(data)


def test_the_last_bytes_are_never_lost(cleaned: Engine) -> None:
    for _ in range(10 if cleaned.kind == "berth" else 2):
        done = raw(cleaned, "run", "--rm", "busybox", "sh", "-c", "seq 1 20000; echo end >&2; exit 7")
        assert (len(done.stdout.splitlines()), done.stderr, done.returncode) == (20_000, b"end\n", 7)


def test_streams_are_kept_apart_and_statuses_passed_on(cleaned: Engine) -> None:
    done = cleaned.docker("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3", check=False)
    assert (done.out, done.err, done.code) == ("out\n", "err\n", 3)
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    done = cleaned.docker("exec", "box", "sh", "-c", "echo out; echo err >&2; exit 4", check=False)
    assert (done.out, done.err, done.code) == ("out\n", "err\n", 4)
    assert cleaned.docker("exec", "box", "sh", "-c", "kill -9 $$", check=False).code == 137


def test_two_clients_see_the_same_and_share_the_input(cleaned: Engine) -> None:
    cleaned.docker("run", "-di", "--name", "box", "busybox", "cat")
    other = subprocess.Popen(
        [docker_client(), "attach", "--no-stdin", "box"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        env=cleaned.environment,
    )  # fmt: skip
    first = subprocess.Popen(
        [docker_client(), "attach", "box"], stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=cleaned.environment
    )
    assert first.stdin
    assert first.stdout
    assert other.stdout
    try:
        # The other client is attached once it repeats a line; keep talking until then.
        os.set_blocking(other.stdout.fileno(), False)

        def heard() -> bool:
            assert first.stdin
            first.stdin.write(b"hello\n")
            first.stdin.flush()
            return b"hello\n" in (other.stdout.read() or b"") if other.stdout else False

        wait_for(heard, "the other client to see the line")
        assert first.stdout.readline() == b"hello\n"
        first.stdin.close()
        wait_for(lambda: cleaned.docker("inspect", "-f", "{{.State.Running}}", "box").out == "true\n", "it to run on")
    finally:
        for one in (first, other):
            one.kill()
            one.wait()
            for stream in (one.stdin, one.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


def test_what_follows_an_upgrade_request_at_once_is_not_lost(clean_berth: Berth) -> None:
    clean_berth.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    body = json.dumps({"Cmd": ["cat"], "AttachStdin": True, "AttachStdout": True})
    ident = clean_berth.api("POST", "/containers/box/exec", body.encode()).body["Id"]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(str(clean_berth.socket))
        head = f"POST /exec/{ident}/start HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}early".encode())
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 101 UPGRADED\r\n")
    assert answer.endswith(b"\x01\0\0\0\0\0\0\x05early")


@pytest.mark.parametrize("kind", ["whole", "stream", "hijacked", "refused"])
def test_every_kind_of_answer_says_who_gave_it(cleaned: Engine, kind: str) -> None:
    path = {"whole": "GET /version", "stream": "GET /events", "hijacked": "POST /containers/box/attach?stream=1",
            "refused": "GET /containers/none/json"}[kind]  # fmt: skip
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(60)
        line.connect(str(cleaned.socket))
        line.sendall(f"{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += line.recv(4096)
    names = [row.partition(b":")[0].lower() for row in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    wanted = [b"api-version", b"docker-experimental", b"ostype", b"server"]
    if (cleaned.kind, kind) == ("dockerd", "hijacked"):  # newer ones say it here too
        wanted = []
    assert sorted(name for name in names if name in (b"api-version", *wanted)) == wanted


def test_a_client_that_takes_nothing_does_not_keep_a_container_from_being_stopped(clean_berth: Berth) -> None:
    clean_berth.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1; yes")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(clean_berth.socket))
        connection.sendall(
            b"POST /containers/box/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        connection.settimeout(60)
        assert connection.recv(100)
        wait_for(lambda: len(clean_berth.docker("logs", "--tail", "5", "box").out) > 5, "it to talk")
        clean_berth.docker("kill", "box", timeout=60)
        wait_for(lambda: clean_berth.docker("inspect", "-f", "{{.State.Running}}", "box").out == "false\n", "its end")


# --- terminals ------------------------------------------------------------------------------------------------------


def test_a_terminal_has_its_size_and_learns_of_a_new_one(cleaned: Engine) -> None:
    with terminal(cleaned, "run", "-it", "--name", "box", "busybox", "sh", height=33, width=111) as one:
        one.expect(b"# ")
        one.type(b"stty size\n")
        one.expect(b"33 111")
        one.size(44, 99)

        def told() -> bool:
            # The client may not listen yet for the signal that a terminal of its own would send.
            one.client.send_signal(signal.SIGWINCH)
            return "44 99" in cleaned.docker("exec", "box", "sh", "-c", "stty size </proc/1/fd/0").out

        wait_for(told, "the size")
        one.type(b"exit 5\n")
        assert one.ended() == 5


def test_control_c_interrupts_what_runs_in_the_terminal(cleaned: Engine) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done"
    with terminal(cleaned, "run", "-it", "--rm", "busybox", "sh", "-c", script) as one:
        one.expect(b"ready\r\n")
        one.type(b"\x03")
        one.expect(b"caught\r\n")
        assert one.ended() == 9


def test_detach_keys_leave_the_container_running_and_one_may_come_back(cleaned: Engine) -> None:
    with terminal(cleaned, "run", "-it", "--name", "box", "busybox", "sh") as one:
        one.expect(b"# ")
        one.type(DETACH)
        assert one.ended() == 0
    with terminal(cleaned, "attach", "--detach-keys", "ctrl-x,a", "box") as one:
        wait_for(lambda: cleaned.docker("inspect", "-f", "{{.State.Running}}", "box").out == "true\n", "it to run")
        one.type(b"\n")
        one.expect(b"# ")
        one.type(b"echo $((40+2))\n")
        one.expect(b"42\r\n")
        one.type(b"\x18a")
        one.expect(b"read escape sequence")
        one.ended()
    assert cleaned.docker("inspect", "-f", "{{.State.Running}}", "box").out == "true\n"


def test_a_command_in_a_terminal(cleaned: Engine) -> None:
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    with terminal(cleaned, "exec", "-it", "box", "sh", height=20, width=70) as one:
        one.expect(b"# ")
        wait_for(lambda: _stty(one) == b"20 70", "the size")
        one.type(b"exit 9\n")
        assert one.ended() == 9
    with terminal(cleaned, "exec", "-it", "box", "sh") as one:
        one.expect(b"# ")
        one.type(DETACH)
        one.ended()
    assert cleaned.docker("exec", "box", "sh", "-c", "ps | grep -c [s]h$").out != "0\n"


def _stty(one: Terminal) -> bytes:
    one.type(b"stty size; echo done$((1))\n")
    one.expect(b"size; echo done$((1))\r\n")
    one.said = b"" + one.said
    while b"done1\r\n" not in one.said:
        one._read(5)
    size, _, one.said = one.said.partition(b"\r\ndone1\r\n")
    return size


# --- commands -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "words", "code"),
    [
        (("box", "nosuch"), 'exec: "nosuch": executable file not found in $PATH', 127),
        (("box", "/etc"), 'exec: "/etc": permission denied', 126),
        (("-w", "/nodir", "box", "ls"),
         'chdir to cwd ("/nodir") set in config.json failed: no such file or directory', 126),
        (("-u", "nouser", "box", "ls"), "unable to find user nouser: no matching entries in passwd file", 126),
    ],
)  # fmt: skip
def test_a_command_that_cannot_run_says_why(cleaned: Engine, args: tuple[str, ...], words: str, code: int) -> None:
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    done = cleaned.docker("exec", *args, check=False)
    needs_original_20(cleaned.kind)
    assert words in done.out + done.err
    # Docker 20.10 returned 126 for what it does not find, too; later ones 127.
    assert done.code == (126 if cleaned.kind == "dockerd" else code)


def test_what_a_command_is_told_reaches_it(cleaned: Engine) -> None:
    cleaned.docker("run", "-d", "--name", "box", "-e", "A=1", "-w", "/tmp", "busybox", "sleep", "600")
    script = "id -u; pwd; echo $A$B"
    done = cleaned.docker("exec", "-u", "nobody", "-w", "/etc", "-e", "B=2", "box", "sh", "-c", script)
    assert done.out == "65534\n/etc\n12\n"
    assert cleaned.docker("exec", "box", "sh", "-c", script).out == "0\n/tmp\n1\n"


def test_commands_are_refused_unless_the_container_runs(cleaned: Engine) -> None:
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    ident = cleaned.docker("inspect", "-f", "{{.Id}}", "box").out.strip()
    cleaned.docker("pause", "box")
    refused = cleaned.api("POST", "/containers/box/exec", {"Cmd": ["ls"]})
    assert refused.status == 409
    assert "is paused, unpause the container before exec" in refused.body["message"]
    cleaned.docker("unpause", "box")
    assert cleaned.api("POST", "/containers/box/exec", {}).status == 400
    made = cleaned.api("POST", "/containers/box/exec", {"Cmd": ["ls"]})
    assert made.status == 201
    cleaned.docker("kill", "box")
    wait_for(lambda: cleaned.docker("inspect", "-f", "{{.State.Running}}", "box").out == "false\n", "its end")
    refused = cleaned.api("POST", "/containers/box/exec", {"Cmd": ["ls"]})
    assert refused.status == 409
    assert refused.body["message"].lower() == f"container {ident} is not running"
    assert cleaned.api("POST", "/exec/nope/start", {}).status == 404
    assert cleaned.api("GET", "/exec/nope/json").status == 404
    assert cleaned.api("POST", "/containers/nope/exec", {"Cmd": ["ls"]}).body["message"] == "No such container: nope"


def test_an_instance_can_be_inspected_and_runs_once(clean_berth: Berth) -> None:
    clean_berth.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    ident = clean_berth.api("POST", "/containers/box/exec", {"Cmd": ["sleep", "500"]}).body["Id"]
    assert clean_berth.api("POST", f"/exec/{ident}/start", {"Detach": True}).status == 200
    seen = clean_berth.api("GET", f"/exec/{ident}/json").body
    assert (seen["Running"], seen["ExitCode"]) == (True, None)
    # the answer comes when it is let go on, which is a moment before it is the command
    wait_for(lambda: Path(f"/proc/{seen['Pid']}/cmdline").read_bytes().startswith(b"sleep\x00500"), "the command")
    again = clean_berth.api("POST", f"/exec/{ident}/start", {"Detach": True})
    assert (again.status, "has already run" in again.body["message"]) == (409, True)
    clean_berth.docker("exec", "box", "sh", "-c", "kill -9 $(pidof sleep | tr ' ' '\\n' | grep -v '^1$')")
    wait_for(lambda: clean_berth.api("GET", f"/exec/{ident}/json").body["ExitCode"] == 137, "its end to be seen")


def test_a_detached_command_outlives_the_engine(own_berth: Berth) -> None:
    own_berth.docker("run", "-d", "--name", "box", "busybox", "sleep", "600")
    own_berth.docker("exec", "-d", "box", "sh", "-c", "echo yes >/tmp/before; sleep 500")
    wait_for(lambda: own_berth.docker("exec", "box", "cat", "/tmp/before", check=False).out == "yes\n", "it to write")
    own_berth.kill9()
    own_berth.start()
    assert "sleep 500" in own_berth.docker("exec", "box", "ps").out
    assert own_berth.docker("exec", "-i", "box", "cat", feed="still there").out == "still there"


# --- logs -----------------------------------------------------------------------------------------------------------


def test_logs_are_followed_to_the_containers_end(cleaned: Engine) -> None:
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "echo one; sleep 1; echo two >&2; echo three")
    done = cleaned.docker("logs", "-f", "box")
    assert (done.out, done.err) == ("one\nthree\n", "two\n")


def test_a_last_line_without_an_end_is_followed_too(clean_berth: Berth) -> None:
    # Docker 20.10 leaves it out when it follows.
    clean_berth.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", "sleep 1; printf three")
    assert clean_berth.docker("logs", "-f", "box").out == "three"


def test_logs_are_cut_by_tail_and_time(cleaned: Engine) -> None:
    cleaned.docker("run", "--name", "box", "busybox", "sh", "-c", "seq 1 1000; sleep 1.1; echo late")
    assert cleaned.docker("logs", "--tail", "2", "box").out == "1000\nlate\n"
    assert cleaned.docker("logs", "--tail", "0", "box").out == ""
    assert len(cleaned.docker("logs", "box").out.splitlines()) == 1001
    stamp, _, text = cleaned.docker("logs", "-t", "--tail", "1", "box").out.strip().partition(" ")
    assert (len(stamp), stamp[-1], text) == (30, "Z", "late")
    assert cleaned.docker("logs", "--since", stamp, "box").out == "late\n"
    assert cleaned.docker("logs", "--until", stamp[:19] + ".000000000Z", "box").out.endswith("1000\n")


def test_logs_of_a_terminal_come_as_they_were(cleaned: Engine) -> None:
    cleaned.docker("run", "-t", "--name", "box", "busybox", "sh", "-c", "echo a; echo b >&2")
    assert raw(cleaned, "logs", "box").stdout == b"a\r\nb\r\n"


def test_no_stream_and_no_driver_are_refused(cleaned: Engine) -> None:
    cleaned.docker("create", "--name", "box", "--log-driver", "none", "busybox", "true")
    assert cleaned.api("GET", "/containers/box/logs").status == 400
    done = cleaned.docker("logs", "box", check=False)
    assert "configured logging driver does not support reading" in done.err


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("running", [True, False])
def test_files_go_in_and_out(cleaned: Engine, tmp_path: Path, *, running: bool) -> None:
    cleaned.docker("create", "--name", "box", "-v", "io-files:/vol", "busybox", "sleep", "600")
    if running:
        cleaned.docker("start", "box")
    (tmp_path / "tree/deep").mkdir(parents=True)
    (tmp_path / "tree/deep/file").write_text("text")
    (tmp_path / "tree/link").symlink_to("deep/file")
    cleaned.docker("cp", str(tmp_path / "tree"), "box:/root/")
    cleaned.docker("cp", f"{tmp_path}/tree/.", "box:/vol")
    cleaned.docker("cp", "box:/root/tree", str(tmp_path / "back"))
    assert (tmp_path / "back/deep/file").read_text() == "text"
    assert (tmp_path / "back/link").readlink() == Path("deep/file")
    cleaned.docker("cp", "box:/vol/deep/file", str(tmp_path / "one"))
    assert (tmp_path / "one").read_text() == "text"
    done = cleaned.docker("cp", "box:/nosuch", str(tmp_path / "x"), check=False)
    assert re.search("Could not find the file /nosuch in container box|No such container:path: box:/nosuch", done.err)
    if not running:
        cleaned.docker("start", "box")
    assert cleaned.docker("exec", "box", "cat", "/root/tree/link", "/vol/deep/file").out == "texttext"
    cleaned.docker("rm", "-f", "box")
    cleaned.docker("volume", "rm", "io-files")


def test_an_archive_is_described_and_named_as_dockers(cleaned: Engine) -> None:
    script = "mkdir -p /a/b; echo 1 >/a/b/x; ln -s /a /l; sleep 600"
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    wait_for(lambda: cleaned.docker("exec", "box", "ls", "/l", check=False).ok, "the link")
    expected = {
        "/a": ["a", "a/b", "a/b/x"],
        "/a/": ["a", "a/b", "a/b/x"],
        "/a/.": [".", "./b", "./b/x"],
        "/l": ["l"],
        "/l/": ["l", "l/b", "l/b/x"],
        "/a/b/x": ["x"],
    }
    for path, names in expected.items():
        done = subprocess.run(
            ["curl", "-s", "--unix-socket", str(cleaned.socket), f"http://x/containers/box/archive?path={path}"],
            capture_output=True, check=True,
        )  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            assert archive.getnames() == names, path


def test_nothing_outside_the_container_is_reached(cleaned: Engine, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("host")
    script = f"ln -s {tmp_path} /out; ln -s / /up; sleep 600"
    cleaned.docker("run", "-d", "--name", "box", "busybox", "sh", "-c", script)
    wait_for(lambda: cleaned.docker("exec", "box", "readlink", "/up", check=False).ok, "the links")
    for path in ("/out/secret", f"/up/{secret}", f"/../../../{secret}"):
        assert not cleaned.docker("cp", f"box:{path}", str(tmp_path / "stolen"), check=False).ok
    assert not (tmp_path / "stolen").exists()


def test_a_root_file_system_is_exported_without_volumes(cleaned: Engine) -> None:
    cleaned.docker("run", "-d", "--name", "box", "-v", "/vol", "busybox", "sh", "-c", "touch /vol/v /mine; sleep 600")
    wait_for(lambda: cleaned.docker("exec", "box", "ls", "/mine", check=False).ok, "the file")
    with tarfile.open(fileobj=io.BytesIO(raw(cleaned, "export", "box").stdout)) as archive:
        names = archive.getnames()
    assert {"mine", "bin/busybox", "vol"} <= set(names)
    assert not [name for name in names if name.startswith(("vol/", "proc/", "sys/"))]


# --- health and figures ---------------------------------------------------------------------------------------------


def test_health_is_followed(cleaned: Engine) -> None:
    cleaned.docker(
        "run", "-d", "--name", "box", "--health-interval", "1s", "--health-timeout", "300s", "--health-retries", "1",
        "--health-cmd", "while [ ! -e /tmp/go ]; do sleep 0.1; done; cat /tmp/well", "busybox", "sleep", "600",
    )  # fmt: skip

    def status() -> str:
        return cleaned.docker("inspect", "-f", "{{.State.Health.Status}}", "box").out.strip()

    assert status() == "starting"
    cleaned.docker("exec", "box", "touch", "/tmp/go")
    wait_for(lambda: status() == "unhealthy", "the first failure")
    cleaned.docker("exec", "box", "sh", "-c", "echo fine >/tmp/well")
    wait_for(lambda: status() == "healthy", "the first success")
    log = json.loads(cleaned.docker("inspect", "-f", "{{json .State.Health.Log}}", "box").out)
    assert (log[-1]["ExitCode"], log[-1]["Output"]) == (0, "fine\n")
    assert "(healthy)" in cleaned.docker("ps").out


def test_health_is_checked_again_after_a_crash_of_the_engine(own_berth: Berth) -> None:
    own_berth.docker(
        "run", "-d", "--name", "box", "--health-cmd", "true", "--health-interval", "1s", "busybox", "sleep", "600"
    )

    def last() -> str:
        log = json.loads(own_berth.docker("inspect", "-f", "{{json .State.Health.Log}}", "box").out) or [{"End": ""}]
        return str(log[-1]["End"])

    wait_for(lambda: last() != "", "a first check")
    own_berth.kill9()
    own_berth.start()
    before = last()
    wait_for(lambda: last() > before, "one more check")


def test_figures_have_dockers_shape(clean_berth: Berth) -> None:
    # Not beside Docker 20.10: it sends zeros where control groups of both versions are mounted.
    clean_berth.docker("run", "-d", "--name", "box", "-m", "64m", "busybox", "sh", "-c", "while :; do :; done")
    seen: dict[str, Any] = {}

    def used() -> int:
        """Return the nanoseconds it had a processor in about a second: others may want it, too."""
        seen.update(clean_berth.api("GET", "/containers/box/stats?stream=0").body)
        return int(seen["cpu_stats"]["cpu_usage"]["total_usage"] - seen["precpu_stats"]["cpu_usage"]["total_usage"])

    wait_for(lambda: used() > 20_000_000, "its use of the processor")
    now, before = seen["cpu_stats"], seen["precpu_stats"]
    assert now["system_cpu_usage"] > before["system_cpu_usage"]
    assert now["online_cpus"] >= 1
    assert seen["memory_stats"]["limit"] == 64 * 1024 * 1024
    assert 0 < seen["memory_stats"]["usage"] < 64 * 1024 * 1024
    assert seen["pids_stats"]["current"] >= 1
    assert set(seen["networks"]) == {"eth0"}
    shown = ("stats", "--no-stream", "--format", "{{.CPUPerc}}", "box")
    wait_for(lambda: "0.00%" not in clean_berth.docker(*shown).out, "the share of a processor it has")
    clean_berth.docker("kill", "box")
    wait_for(lambda: clean_berth.docker("inspect", "-f", "{{.State.Running}}", "box").out == "false\n", "its end")
    assert clean_berth.api("GET", "/containers/box/stats?stream=0").body["memory_stats"] == {}
