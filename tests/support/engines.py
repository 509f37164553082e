"""Engines for tests: a Berth or a dockerd in network and mount namespaces of their own, with own roots and socket.

Nothing here touches the machine's own network: the namespaces hang on a holder process and vanish with it.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

REPO = Path(__file__).resolve().parents[2]
ORACLE = REPO / ".oracle" / "root"
#: Where test engines keep their run-time state: a tmpfs, and short, because unix socket paths end at 108 bytes.
RUN = Path(f"/run/berth-tests-{os.getpid()}")
#: Control groups that engines of this run make: those of another run at the same time are not this one's leaks.
CGROUPS: set[str] = set()


def wait_for(condition: Callable[[], Any], what: str, *, limit_s: float = 60.0) -> Any:
    """Return the first true value of `condition`, asked every few milliseconds."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s in vain for {what}")
        time.sleep(0.01)


class UnixHTTPConnection(http.client.HTTPConnection):
    """`http.client` over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Answer:
    """What an API call came back with."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        return self.body.get("message", "") if isinstance(self.body, dict) else str(self.body)


@dataclass(frozen=True)
class Done:
    """What a command came back with."""

    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0


class Namespaces:
    """A network and a mount namespace, held open by a process of ours."""

    def __init__(self, *, mounts: bool) -> None:
        flags = ["--net", *(["--mount", "--propagation", "private"] if mounts else [])]
        # A new namespace forwards if the machine does; engines are to find a host that nobody has set up for them.
        script = (
            "ip link set lo up && cd /proc/sys/net && echo 0 >ipv4/ip_forward && echo 0 >ipv6/conf/all/forwarding"
            " && cd / && echo ready && exec sleep infinity"
        )
        self._mounts = mounts
        self._holder = subprocess.Popen(
            ["unshare", *flags, "sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        return self._holder.pid

    def inside(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in here."""
        return ["nsenter", "-t", str(self.pid), "-n", *(["-m"] if self._mounts else []), "--", *argv]

    def run(self, *argv: str, check: bool = True, feed: str | None = None, timeout: float = 180) -> Done:
        """Run a command in here."""
        done = subprocess.run(self.inside(argv), capture_output=True, text=True, input=feed, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(argv)} failed with {done.returncode}: {done.stderr or done.stdout}")
        return Done(done.returncode, done.stdout, done.stderr)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        if self._holder.stdout:
            self._holder.stdout.close()


class Engine:
    """What both kinds of engine have in common: a socket, clients, a place on the network."""

    kind = ""

    def __init__(self, name: str, root: Path) -> None:
        self.name = name
        self.root = root
        self.run_root = RUN / name
        self.socket = self.run_root / "api.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.spaces = Namespaces(mounts=True)
        root.mkdir(parents=True, exist_ok=True)
        self.run_root.mkdir(parents=True, exist_ok=True)
        self.log = root / "daemon.log"

    # --- clients ---------------------------------------------------------------------------------------------
    @property
    def environment(self) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BERTH_", "COMPOSE_"))}
        config = self.root / "client"
        config.mkdir(exist_ok=True)
        host = f"unix://{self.socket}"
        return keep | {"DOCKER_HOST": host, "BERTH_HOST": host, "DOCKER_CONFIG": str(config),
                       "XDG_CACHE_HOME": str(config / "cache")}  # fmt: skip

    def _client(self, argv: Sequence[str], feed: str | None, timeout: float, check: bool, cwd: Path | None) -> Done:
        done = subprocess.run(
            argv, capture_output=True, text=True, input=feed, timeout=timeout, env=self.environment, cwd=cwd,
            stdin=None if feed is not None else subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return Done(done.returncode, done.stdout, done.stderr)

    def docker(self, *args: str, feed: str | None = None, timeout: float = 240, check: bool = True,
               cwd: Path | None = None) -> Done:  # fmt: skip
        """Run the real docker client against this engine."""
        return self._client([docker_client(), *args], feed, timeout, check, cwd)

    def berth(self, *args: str, feed: str | None = None, timeout: float = 240, check: bool = True,
              cwd: Path | None = None) -> Done:  # fmt: skip
        """Run our own client against this engine."""
        return self._client([str(REPO / ".venv/bin/berth"), *args], feed, timeout, check, cwd)

    def client(self, which: str) -> Callable[..., Done]:
        """Return `docker` or `berth` by name."""
        return self.docker if which == "docker" else self.berth

    def api(self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None,
            timeout: float = 180) -> Answer:  # fmt: skip
        """Make one API call; a `bytes` body is sent as it is."""
        connection = UnixHTTPConnection(str(self.socket), timeout)
        try:
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
            response = connection.getresponse()
            data = response.read()
            try:
                decoded = json.loads(data) if data else None
            except ValueError:
                decoded = data.decode(errors="replace")
            return Answer(response.status, decoded, dict(response.getheaders()))
        finally:
            connection.close()

    # --- the machine it thinks it has -------------------------------------------------------------------------
    def host(self, *argv: str, check: bool = True, feed: str | None = None, timeout: float = 180) -> Done:
        """Run a command on this engine's host: in its network (and mount) namespace."""
        return self.spaces.run(*argv, check=check, feed=feed, timeout=timeout)

    # --- life ---------------------------------------------------------------------------------------------------
    def argv(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        out = self.log.open("ab")
        try:
            self.process = subprocess.Popen(
                self.spaces.inside(self.argv()), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                start_new_session=True, env=self.daemon_environment(),
            )  # fmt: skip
        finally:
            out.close()
        wait_for(self._answers, f"{self.kind} to answer on {self.socket}:\n" + "{log}", limit_s=120)

    def daemon_environment(self) -> dict[str, str]:
        return dict(os.environ)

    def _answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.kind} ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            return self.api("GET", "/_ping", timeout=2).status == 200
        except OSError:
            return False

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the daemon's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def kill9(self) -> None:
        """End the daemon as a crash would, by its pid."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """Ask the daemon to end and wait for it."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def restart(self) -> None:
        """Stop and start the daemon."""
        self.stop()
        self.start()

    def wipe_containers(self) -> None:
        """Remove every container, with force."""
        answer = self.api("GET", "/containers/json?all=1")
        for row in answer.body:
            self.api("DELETE", f"/containers/{row['Id']}?force=1&v=1")

    def close(self) -> None:
        """Take everything down: containers, daemon, namespaces, directories."""
        with contextlib.suppress(OSError, AssertionError):
            if self.process is not None and self.process.poll() is None:
                self.wipe_containers()
        self.stop()
        self.after_stop()
        self.spaces.close()
        shutil.rmtree(self.run_root, ignore_errors=True)
        with contextlib.suppress(OSError):
            RUN.rmdir()

    def after_stop(self) -> None:
        """End what outlives the daemon."""


E = TypeVar("E", bound=Engine)


class Berth(Engine):
    """A berthd of this source tree."""

    kind = "berth"

    def __init__(self, name: str, root: Path, *flags: str) -> None:
        super().__init__(name, root)
        self.flags = flags
        self.data_root = root / "data"
        self.exec_root = self.run_root / "x"
        sys.path.insert(0, str(REPO / "src"))
        from berth.base.paths import Layout

        self.layout = Layout(self.data_root, self.exec_root)
        CGROUPS.add(self.layout.cgroup_parent.strip("/"))

    def argv(self) -> list[str]:
        return [
            str(REPO / ".venv/bin/berthd"), "-H", f"unix://{self.socket}", "--data-root", str(self.data_root),
            "--exec-root", str(self.exec_root), *(self.flags or ("--log-level", "debug")),
        ]  # fmt: skip

    def processes(self) -> list[tuple[int, str]]:
        """Return every process that carries this engine's run-time root in its command line."""
        mark = str(self.exec_root).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    line = (entry / "cmdline").read_bytes()
                    if mark in line:
                        found.append((int(entry.name), line.replace(b"\0", b" ").decode(errors="replace")))
        return found

    def leaks(self) -> list[str]:
        """Return what is left on the machine of containers and networks that no longer exist."""
        left = [f"process {pid}: {line[:200]}" for pid, line in self.processes()
                if "berthd" not in line and "dns" not in line and "proxy" not in line]  # fmt: skip
        mark = self.layout.veth_prefix
        links = self.host("ip", "-o", "link", check=False).out
        left += [f"link {line.split(': ')[1]}" for line in links.splitlines() if f": {mark}" in line]
        mounts = self.host("cat", "/proc/self/mountinfo", check=False).out
        # One namespace is kept in reserve for the next start.
        reserve = next((entry.name for entry in (self.exec_root / "netns").glob("*")), "")
        kept = f"{self.exec_root}/netns/{reserve}"
        for line in mounts.splitlines():
            where = line.split()[4]
            if where.startswith((f"{self.exec_root}/containers", f"{self.exec_root}/netns")) and where != kept:
                left.append(f"mount {where}")
        for place in (self.exec_root / "netns", self.exec_root / "containers", self.data_root / "containers"):
            if place.exists():
                left += [f"entry {entry}" for entry in place.iterdir() if entry.name != reserve]
        for controller in Path("/sys/fs/cgroup").iterdir():
            parent = controller / self.layout.cgroup_parent.strip("/")
            if parent.is_dir():
                left += [f"cgroup {child}" for child in parent.iterdir() if child.is_dir()]
        return left

    def after_stop(self) -> None:
        for pid, line in self.processes():
            if "unshare" not in line:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.processes(), f"processes of {self.name} to end: {self.processes()}")
        for controller in Path("/sys/fs/cgroup").iterdir():
            parent = controller / self.layout.cgroup_parent.strip("/")
            if parent.is_dir():
                with contextlib.suppress(OSError):
                    parent.rmdir()


class Dockerd(Engine):
    """Debian's dockerd, unpacked by the set-up script: the original we compare with."""

    kind = "dockerd"

    def argv(self) -> list[str]:
        return [
            "dockerd", "-H", f"unix://{self.socket}", "--data-root", str(self.root / "data"),
            "--exec-root", str(self.run_root / "x"), "-p", str(self.run_root / "pid"),
        ]  # fmt: skip

    def after_stop(self) -> None:
        # dockerd mounts its data root onto itself and leaves its data root mounted when it ends.
        subprocess.run(["umount", str(self.root / "data")], check=False, capture_output=True)

    def daemon_environment(self) -> dict[str, str]:
        own = ":".join(str(ORACLE / part) for part in ("usr/sbin", "usr/bin", "sbin", "bin"))
        system = os.environ.get("PATH", "")
        return dict(os.environ) | {"PATH": f"{own}:{system}:/usr/sbin:/sbin"}


def docker_client() -> str:
    """Return the docker client to drive: the newest at hand."""
    return os.environ.get("DOCKER_CLI") or shutil.which("docker") or str(ORACLE / "usr/bin/docker")


def busybox_tar(target: Path) -> Path:
    """Make a root file system of busybox as a tar, from the distribution's static busybox."""
    if target.exists():
        return target
    root = target.with_suffix(".root")
    (root / "bin").mkdir(parents=True)
    with contextlib.chdir(target.parent):
        subprocess.run(["apt-get", "download", "-qq", "busybox-static"], check=True, capture_output=True)
        deb = next(target.parent.glob("busybox-static_*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root / "x")], check=True)
        deb.unlink()
    shutil.copy(
        next(p for p in (root / "x").rglob("busybox") if p.is_file() and os.access(p, os.X_OK)), root / "bin/busybox"
    )
    shutil.rmtree(root / "x")
    for applet in subprocess.run(
        [root / "bin/busybox", "--list"], capture_output=True, text=True, check=True
    ).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for directory in ("etc", "tmp", "root", "proc", "sys", "dev", "var/spool/mail", "home", "usr"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    subprocess.run(["tar", "-C", str(root), "--owner=0", "--group=0", "-cf", str(target), "."], check=True)
    shutil.rmtree(root)
    return target


def import_busybox(engine: Engine, tar: Path) -> None:
    """Give an engine the image ``busybox:latest``."""
    changes = "changes=" + "&changes=".join(("CMD%20%5B%22sh%22%5D", "ENV%20PATH=/bin:/sbin:/usr/bin"))
    answer = engine.api("POST", f"/images/create?fromSrc=-&repo=busybox&tag=latest&{changes}", tar.read_bytes(),
                        headers={"Content-Type": "application/x-tar"}, timeout=120)  # fmt: skip
    assert answer.status == 200, answer


def import_tree(engine: Engine, name: str, tar: bytes) -> None:
    """Give an engine an image with the files of a tar."""
    answer = engine.api("POST", f"/images/create?fromSrc=-&repo={name}&changes=CMD%20%5B%22sh%22%5D"
                        "&changes=ENV%20PATH=/bin", tar, headers={"Content-Type": "application/x-tar"},
                        timeout=120)  # fmt: skip
    assert answer.status == 200, answer


@contextlib.contextmanager
def running(engine: E, busybox: Path) -> Iterator[E]:
    """Run an engine that has the image ``busybox:latest`` for the length of a block."""
    try:
        engine.start()
        import_busybox(engine, busybox)
        yield engine
    finally:
        engine.close()
