"""The story ``./demo`` tells: up by Compose, page, row, names, backup, loss, restore, row again. Prints a report.

Starts a berthd of its own (state in .demo/, run-time state in /run/berth-demo) and drives it only through ``berth``.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
STATE = REPO / ".demo"
RUN = Path("/run/berth-demo")
SOCKET = RUN / "berth.sock"
BERTH = REPO / ".venv/bin/berth"
COMPOSE = REPO / "examples/demo/compose.yaml"
#: The stand-ins made from the machine's own package mirror where no registry answers: image → recipe.
IMAGES = {"nginx": "nginx", "postgres": "postgres", "alpine": "busybox"}
PULL_LIMIT_S = 60
COLOUR = sys.stdout.isatty()


class Failed(SystemExit):
    """A step of the demo went wrong; its message has been printed."""


def paint(text: str, code: str) -> str:
    """Colour `text` on a terminal only."""
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


class Report:
    """Runs commands, shows them with what they said and how long each took."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, str]] = []
        self.began = time.monotonic()

    def title(self, text: str) -> None:
        print(f"\n{paint(text, '1')}")

    def berth(self, *args: str, show: bool = True, check: bool = True, said: str | None = None) -> str:
        """Run one ``berth`` command."""
        shown = said or "berth " + " ".join(args)
        began = time.monotonic()
        done = subprocess.run(
            [str(BERTH), *args], capture_output=True, text=True, env=environment(), cwd=STATE, check=False
        )
        took = time.monotonic() - began
        self.rows.append((took, shown))
        print(f"  {paint('$', '2')} {shown}  {paint(f'{took * 1e3:.0f} ms', '2')}")
        if check and done.returncode != 0:
            print(done.stdout + done.stderr, file=sys.stderr)
            print(
                f"demo: this command failed with status {done.returncode}; the engine's log is {STATE / 'berthd.log'}",
                file=sys.stderr,
            )
            raise Failed(1)
        if show:
            for line in (done.stdout.strip() or done.stderr.strip() if check else done.stdout.strip()).splitlines():
                print(f"      {line}")
        return done.stdout

    def summary(self) -> None:
        print(f"\n{paint('Commands and how long each took', '1')}")
        for took, what in self.rows:
            print(f"  {took * 1e3:8.0f} ms  {what}")
        print(f"  {(time.monotonic() - self.began) * 1e3:8.0f} ms  in all")


def environment() -> dict[str, str]:
    """What the commands run with: our socket, nothing of the caller's Docker settings."""
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "BERTH_", "COMPOSE_"))}
    return keep | {"BERTH_HOST": f"unix://{SOCKET}", "DEMO_PORT": str(port()), "COMPOSE_PROGRESS": "plain"}


def port() -> int:
    """The published port: the one used last time if we hold it, else the first free from 8080 on."""
    memo = STATE / "port"
    if memo.exists():
        return int(memo.read_text())
    for candidate in range(8080, 8200):
        with contextlib.closing(socket.socket()) as probe:
            try:
                probe.bind(("0.0.0.0", candidate))
            except OSError:
                continue
        memo.write_text(str(candidate))
        return candidate
    raise SystemExit("demo: no free port between 8080 and 8199")


def answers() -> bool:
    """Whether our engine answers on its socket."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(SOCKET))
            probe.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in probe.recv(256)
        except OSError:
            return False


def start_engine() -> None:
    """Start berthd, detached, unless it runs."""
    STATE.mkdir(exist_ok=True)
    if answers():
        return
    RUN.mkdir(exist_ok=True)
    log = (STATE / "berthd.log").open("ab")
    daemon = subprocess.Popen(
        [str(REPO / ".venv/bin/berthd"), "-H", f"unix://{SOCKET}", "--data-root", str(STATE / "data"), "--exec-root", str(RUN)],
        stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not answers():
        if daemon.poll() is not None or time.monotonic() > deadline:
            print((STATE / "berthd.log").read_text()[-3000:], file=sys.stderr)
            raise SystemExit("demo: the engine did not start; its log is above")
        time.sleep(0.02)
    (STATE / "pid").write_text(str(daemon.pid))


def images(report: Report) -> None:
    """Have the images: from the registry, else made from the machine's package mirror."""
    have = subprocess.run([str(BERTH), "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], env=environment(),
                          capture_output=True, text=True, check=True).stdout.split()  # fmt: skip
    wanted = [name for name in IMAGES if f"{name}:latest" not in have]
    if not wanted:
        return
    report.title("Images")
    made: list[str] = []
    for name in wanted:
        if not made:
            try:
                subprocess.run(
                    [str(BERTH), "pull", "-q", name],
                    env=environment(),
                    capture_output=True,
                    check=True,
                    timeout=PULL_LIMIT_S,
                )
                print(f"  pulled {name}")
                continue
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                print(
                    "  The registry cannot be reached from here: the images are made from this machine's own Debian packages"
                )
                print(
                    "  instead. They behave like the well-known ones where this demo relies on it, and are labelled as what they are."
                )
        made.append(name)
    # Together: they share one base, and installing packages leaves a processor idle half of the time.
    with ThreadPoolExecutor() as lanes:
        list(
            lanes.map(
                lambda name: report.berth("image", "bootstrap", IMAGES[name], "--tag", f"{name}:latest", show=False),
                made,
            )
        )


def fetch() -> str:
    """Fetch the published page as a visitor would."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port()}/", timeout=10) as answer:
        return answer.read().decode()


def sql(report: Report, query: str) -> str:
    """Run a query in the database container."""
    return report.berth("compose", "-f", str(COMPOSE), "exec", "-T", "db", "psql", "-U", "postgres", "-d", "harbour", "-tAc", query,
                        said=f'berth compose exec -T db psql -U postgres -d harbour -tAc "{query}"')  # fmt: skip


def wait_for_page() -> str:
    """Fetch the page, allowing nginx a moment to listen."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return fetch()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def run() -> int:
    """Tell the story."""
    report = Report()
    start_engine()
    images(report)
    compose = ("compose", "-f", str(COMPOSE))
    short = ("berth compose ",)

    def up(*args: str, show: bool = True) -> str:
        return report.berth(*compose, *args, show=show, said=short[0] + " ".join(args))

    report.title("A web server and a database, with a network, two volumes and a published port")
    up("up", "-d")
    up("ps")
    report.berth("network", "ls")
    report.berth("volume", "ls")

    report.title("The page, through the published port")
    marker = f"Berth was here at {time.strftime('%H:%M:%S')}"
    up("exec", "-T", "web", "sh", "-c", f"echo '<h1>{marker}</h1>' > /usr/share/nginx/html/index.html")
    page = wait_for_page()
    print(f"  GET http://127.0.0.1:{port()}/  →  {page.strip()}")
    check(marker in page, "the page does not show what was written into its volume")

    report.title("A row, written and read")
    sql(report, "create table if not exists ships (name text); truncate ships; insert into ships values ('Cutty Sark')")
    check("Cutty Sark" in sql(report, "select name from ships"), "the row is not there")

    report.title("Names resolve on the network they share")
    for name in ("db", "database", "web"):
        found = up("exec", "-T", "web", "getent", "hosts", name)
        check(name in found, f"{name} does not resolve")

    report.title("Back the volume up, destroy it, restore it")
    up("stop", "db")
    backup = STATE / "backup"
    backup.mkdir(exist_ok=True)
    report.berth("run", "--rm", "-v", "my_volume:/data", "-v", f"{backup}:/backup", "alpine", "tar", "czf", "/backup/backup.tar.gz", "-C", "/data", ".",
                 said="berth run --rm -v my_volume:/data -v $(pwd):/backup alpine tar czf /backup/backup.tar.gz -C /data .")  # fmt: skip
    print(f"      backup.tar.gz: {(backup / 'backup.tar.gz').stat().st_size / 1e6:.1f} MB")
    up("rm", "-f", "db", show=False)
    report.berth("volume", "rm", "my_volume")
    left = json.loads(report.berth("volume", "ls", "--format", "json", "-f", "name=my_volume", show=False) or "null")
    check(not left, "the volume is still there")
    report.berth("volume", "create", "my_volume", "--label", "com.docker.compose.project=demo", "--label", "com.docker.compose.volume=my_volume",
                 said="berth volume create my_volume")  # fmt: skip
    report.berth("run", "--rm", "-v", "my_volume:/data", "-v", f"{backup}:/backup", "alpine", "tar", "xzf", "/backup/backup.tar.gz", "-C", "/data",
                 said="berth run --rm -v my_volume:/data -v $(pwd):/backup alpine tar xzf /backup/backup.tar.gz -C /data")  # fmt: skip
    up("up", "-d", "--wait")
    check("Cutty Sark" in sql(report, "select name from ships"), "the restored row is not there")
    print("  The row is back.")

    with_verbs(report, up, backup)

    report.summary()
    print(f"""
It is left running. Look around:
  export BERTH_HOST=unix://{SOCKET} PATH={shlex.quote(str(REPO / ".venv/bin"))}:$PATH
  berth ps; berth network inspect demo_my_network; berth volume inspect my_volume; curl http://127.0.0.1:{port()}/
  DOCKER_HOST=unix://{SOCKET} docker ps          (the docker client works too)
Take all down:
  ./demo down""")
    return 0


def with_verbs(report: Report, up: Callable[..., str], backup: Path) -> None:
    """Lose a table, and have the volume's backup take its place."""
    report.title("The same with verbs of their own: verified, and nothing is overwritten by half")
    verified = backup / "my_volume.tar.zst"
    report.berth(
        "volume",
        "backup",
        "-o",
        str(verified),
        "my_volume",
        said="berth volume backup -o backup/my_volume.tar.zst my_volume",
    )
    report.berth("volume", "verify", str(verified), said="berth volume verify backup/my_volume.tar.zst")
    sql(report, "drop table ships")
    up("stop", "db")
    report.berth(
        "volume",
        "restore",
        "--overwrite",
        str(verified),
        said="berth volume restore --overwrite backup/my_volume.tar.zst",
    )
    up("up", "-d", "--wait")
    check("Cutty Sark" in sql(report, "select name from ships"), "the row is not there after berth volume restore")
    print("  The table is back.")


def check(holds: bool, otherwise: str) -> None:  # noqa: FBT001  reads as a sentence
    """Stop the demo if what it shows is not so."""
    if not holds:
        raise SystemExit(f"demo: {otherwise}; the engine's log is {STATE / 'berthd.log'}")


def down(*, everything: bool) -> int:
    """Take down what the demo made; with `everything` also images and caches."""
    if answers():
        quiet = {"env": environment(), "cwd": STATE, "capture_output": True, "check": False}
        subprocess.run([str(BERTH), "compose", "-f", str(COMPOSE), "down", "-v", "-t", "2"], **quiet)
        left = subprocess.run([str(BERTH), "ps", "-aq"], text=True, **quiet).stdout.split()
        if left:
            subprocess.run([str(BERTH), "rm", "-fv", *left], **quiet)
        subprocess.run([str(BERTH), "network", "prune", "-f"], **quiet)
    pid = STATE / "pid"
    if pid.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid.read_text()), signal.SIGTERM)
            deadline = time.monotonic() + 20
            while Path(f"/proc/{pid.read_text()}").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        pid.unlink()
    shutil.rmtree(RUN, ignore_errors=True)
    (STATE / "port").unlink(missing_ok=True)
    if everything:
        shutil.rmtree(STATE, ignore_errors=True)
    print(
        "demo: all is down"
        + ("" if everything else "; images stay in .demo for the next time (./demo down --all removes them)")
    )
    return 0


def main(argv: list[str]) -> int:
    """``demo.py [down [--all]]``."""
    if argv[:1] == ["down"]:
        return down(everything="--all" in argv)
    if argv:
        print("usage: ./demo [down [--all]]", file=sys.stderr)
        return 2
    return run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
