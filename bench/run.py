"""Berth beside dockerd: the same operations through the same docker client, in turn, on this machine.

    sudo .venv/bin/python -m bench.run            everything, about seven minutes
    sudo .venv/bin/python -m bench.run run exec   only these operations
    sudo .venv/bin/python -m bench.run --rounds 5

Prints medians and ratios and writes a table (Markdown), the figures (JSON) and a plot (SVG) to bench/results/.
Quote ratios: absolute times drift with the machine.
"""

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.engines import ORACLE, Berth, Dockerd, Engine, busybox_tar, import_busybox, wait_for
from tests.support.remote import Remote

from bench.plot import bars

RESULTS = Path(__file__).parent / "results"
#: Layers of the image that is pulled, in megabytes: 190 in all, of this machine's own files.
PULL_LAYERS_MB = (90, 60, 40)
#: Number of the round that is not counted.
WARM_UP = 900

Timed = Callable[[Engine, int], float]


@dataclass
class Operation:
    """One thing to time. `measure` returns milliseconds, or a rate where `higher_is_better`."""

    name: str
    measure: Timed
    rounds: int = 15
    unit: str = "ms"
    higher_is_better: bool = False
    results: dict[str, list[float]] = field(default_factory=lambda: {"berth": [], "dockerd": []})

    def ratio(self) -> float:
        """How many times better Berth is."""
        ours, theirs = (statistics.median(self.results[k]) for k in ("berth", "dockerd"))
        return ours / theirs if self.higher_is_better else theirs / ours


def timed(engine: Engine, *args: str, timeout: float = 180) -> float:
    """Run one docker command, return its milliseconds."""
    began = time.perf_counter()
    engine.docker(*args, timeout=timeout)
    return (time.perf_counter() - began) * 1e3


@contextlib.contextmanager
def stopwatch(into: list[float]) -> Iterator[None]:
    """Append the milliseconds a block took."""
    began = time.perf_counter()
    yield
    into.append((time.perf_counter() - began) * 1e3)


def op_run(engine: Engine, _: int) -> float:
    return timed(engine, "run", "--rm", "busybox", "true")


def op_run_port(engine: Engine, i: int) -> float:
    return timed(engine, "run", "--rm", "-p", f"{20000 + i}:80", "busybox", "true")


def op_run_volume(engine: Engine, i: int) -> float:
    took = timed(engine, "run", "--rm", "-v", f"bench{i}:/data", "busybox", "true")
    engine.docker("volume", "rm", f"bench{i}")
    return took


def op_exec(engine: Engine, _: int) -> float:
    return timed(engine, "exec", "standing", "true")


def op_network_create(engine: Engine, i: int) -> float:
    took = timed(engine, "network", "create", f"bench{i}")
    engine.docker("network", "rm", f"bench{i}")
    return took


def op_network_rm(engine: Engine, i: int) -> float:
    engine.docker("network", "create", f"benchrm{i}")
    return timed(engine, "network", "rm", f"benchrm{i}")


def op_connect(engine: Engine, _: int) -> float:
    took = timed(engine, "network", "connect", "other", "standing")
    engine.docker("network", "disconnect", "other", "standing")
    return took


def op_disconnect(engine: Engine, _: int) -> float:
    engine.docker("network", "connect", "other", "standing")
    return timed(engine, "network", "disconnect", "other", "standing")


def op_volume_create(engine: Engine, i: int) -> float:
    took = timed(engine, "volume", "create", f"bv{i}")
    engine.docker("volume", "rm", f"bv{i}")
    return took


def op_volume_rm(engine: Engine, i: int) -> float:
    engine.docker("volume", "create", f"bvr{i}")
    return timed(engine, "volume", "rm", f"bvr{i}")


def op_network_ls(engine: Engine, _: int) -> float:
    return timed(engine, "network", "ls")


def called(engine: Engine, method: str, path: str, body: dict[str, object] | None = None) -> float:
    """Make one API call on a connection of its own, return its milliseconds."""
    began = time.perf_counter()
    answer = engine.api(method, path, body)
    took = (time.perf_counter() - began) * 1e3
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {answer.body}")
    return took


def api_network_create(engine: Engine, i: int) -> float:
    took = called(engine, "POST", "/networks/create", {"Name": f"api{i}", "CheckDuplicate": True, "Driver": "bridge"})
    called(engine, "DELETE", f"/networks/api{i}")
    return took


def api_network_rm(engine: Engine, i: int) -> float:
    called(engine, "POST", "/networks/create", {"Name": f"apirm{i}", "CheckDuplicate": True, "Driver": "bridge"})
    return called(engine, "DELETE", f"/networks/apirm{i}")


def api_connect(engine: Engine, _: int) -> float:
    took = called(engine, "POST", "/networks/other/connect", {"Container": "standing"})
    called(engine, "POST", "/networks/other/disconnect", {"Container": "standing"})
    return took


def api_disconnect(engine: Engine, _: int) -> float:
    called(engine, "POST", "/networks/other/connect", {"Container": "standing"})
    return called(engine, "POST", "/networks/other/disconnect", {"Container": "standing"})


def api_publish(engine: Engine, i: int) -> float:
    """Start a created container that publishes a port."""
    body = {
        "Image": "busybox", "Cmd": ["sleep", "600"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "KILL",
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": str(22000 + i)}]}},
    }  # fmt: skip
    called(engine, "POST", f"/containers/create?name=apip{i}", body)
    took = called(engine, "POST", f"/containers/apip{i}/start")
    called(engine, "DELETE", f"/containers/apip{i}?force=1")
    return took


def api_volume_create(engine: Engine, i: int) -> float:
    took = called(engine, "POST", "/volumes/create", {"Name": f"apiv{i}"})
    called(engine, "DELETE", f"/volumes/apiv{i}")
    return took


def api_volume_rm(engine: Engine, i: int) -> float:
    called(engine, "POST", "/volumes/create", {"Name": f"apivr{i}"})
    return called(engine, "DELETE", f"/volumes/apivr{i}")


def op_twenty(engine: Engine, i: int) -> float:
    """Start twenty created containers, then stop them, each by one command."""
    names = [f"twenty{i}-{n}" for n in range(20)]
    for name in names:
        engine.docker("create", "--name", name, "--stop-signal", "KILL", "busybox", "sleep", "600")
    took: list[float] = []
    with stopwatch(took):
        engine.docker("start", *names)
        engine.docker("stop", *names)
    engine.docker("rm", "-f", *names)
    return took[0]


def op_pull(engine: Engine, i: int) -> float:
    """Pull an image that shares nothing with those before.

    Each round has its own, and none is removed between them: after removing nine thousand files ext4 spends seconds in
    passing over the inodes just freed when new files are made, and so would time the removal of the round before.
    """
    return timed(engine, "pull", _pulled(i))


def _pulled(number: int) -> str:
    return f"127.0.0.1:5000/bench:{number}"


def _throughput(engine: Engine, network: str, target: str) -> float:
    done = engine.docker(
        "run", "--rm", "--network", network, "-v", "/:/host:ro", "--tmpfs", "/host/tmp", "busybox",
        "chroot", "/host", "iperf3", "-c", target, "-t", "2", "-J", timeout=60,
    )  # fmt: skip
    return json.loads(done.out)["end"]["sum_received"]["bits_per_second"] / 1e9


def _between(engine: Engine, network: str) -> float:
    address = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    return _throughput(engine, network, engine.docker("inspect", "-f", address, "iperf").out.strip())


def op_bridge(engine: Engine, _: int) -> float:
    return _between(engine, "bench")


def op_internal(engine: Engine, _: int) -> float:
    return _between(engine, "inside")


def op_published(engine: Engine, _: int) -> float:
    """Throughput from another host to a published port."""
    remote = Remote(engine)
    try:
        done = remote.spaces.run("iperf3", "-c", "203.0.113.1", "-p", "5201", "-t", "2", "-J")
    finally:
        remote.close(engine)
    return json.loads(done.out)["end"]["sum_received"]["bits_per_second"] / 1e9


def _names(engine: Engine, name: str, *options: str) -> dict[str, float]:
    """Load the resolver of a container and return the figures."""
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "standing").out.strip()
    load = Path(__file__).parent / "dnsload.py"
    done = subprocess.run(
        [sys.executable, str(load), "--pid", pid, "--name", name, "--rounds", "1", "--json", *options],
        capture_output=True, text=True, check=True, timeout=60, env=os.environ | {"PYTHONPATH": str(RESULTS.parents[1] / "src")},
    )  # fmt: skip
    return json.loads(done.stdout)


def op_dns(engine: Engine, _: int) -> float:
    """Queries a second that the resolver answers for a name on the container's network."""
    return _names(engine, "iperf")["rate"]


def op_dns_worst(engine: Engine, _: int) -> float:
    """Microseconds within which 99 % of them are answered, one under way."""
    return _names(engine, "iperf", "--batch", "1")["most_us"]


def op_dns_outside(engine: Engine, _: int) -> float:
    """Queries a second for a name that a server outside knows; the server is the container's own."""
    with upstream(engine):
        return _names(engine, "name.example", "--batch", "16")["rate"]


def op_dns_outside_worst(engine: Engine, _: int) -> float:
    """Microseconds within which 99 % of them are answered, one under way."""
    with upstream(engine):
        return _names(engine, "name.example", "--batch", "1")["most_us"]


@contextlib.contextmanager
def upstream(engine: Engine) -> Iterator[None]:
    """Run a name server inside the container that asks it."""
    pid = engine.docker("inspect", "-f", "{{.State.Pid}}", "standing").out.strip()
    script = str(Path(__file__).parent / "dnsupstream.py")
    server = subprocess.Popen(["nsenter", "-t", pid, "-n", sys.executable, script])
    sockets = Path(f"/proc/{pid}/net/udp")
    try:
        wait_for(lambda: "0100007F:0035" in sockets.read_text(), "the name server outside")
        yield
    finally:
        server.kill()
        server.wait()


OPERATIONS = [
    Operation("run --rm busybox true", op_run, 25),
    Operation("run --rm -p", op_run_port),
    Operation("run --rm -v", op_run_volume),
    Operation("exec true", op_exec, 31),
    Operation("network create", op_network_create),
    Operation("network rm", op_network_rm),
    Operation("network connect", op_connect),
    Operation("network disconnect", op_disconnect),
    Operation("network ls", op_network_ls, 31),
    Operation("volume create", op_volume_create, 31),
    Operation("volume rm", op_volume_rm, 31),
    Operation("API: network create", api_network_create, 31),
    Operation("API: network rm", api_network_rm, 31),
    Operation("API: network connect", api_connect, 31),
    Operation("API: network disconnect", api_disconnect, 31),
    Operation("API: network ls", lambda engine, _: called(engine, "GET", "/networks"), 31),
    Operation("API: start, one port published", api_publish),
    Operation("API: volume create", api_volume_create, 31),
    Operation("API: volume rm", api_volume_rm, 31),
    Operation("pull 190 MB", op_pull, 3),
    Operation("start+stop 20", op_twenty, 3),
    Operation("names: queries answered", op_dns, 5, "/s", higher_is_better=True),
    Operation("names: 99 % within", op_dns_worst, 5, "µs"),
    Operation("names from outside: answered", op_dns_outside, 3, "/s", higher_is_better=True),
    Operation("names from outside: 99 % within", op_dns_outside_worst, 3, "µs"),
    Operation("bridge throughput", op_bridge, 9, "Gbit/s", higher_is_better=True),
    Operation("bridge throughput, internal network", op_internal, 9, "Gbit/s", higher_is_better=True),
    Operation("published-port throughput", op_published, 9, "Gbit/s", higher_is_better=True),
]


class Registry:
    """Debian's registry in an engine's network namespace, on 127.0.0.1:5000."""

    def __init__(self, engine: Engine, storage: Path) -> None:
        config = storage / "config.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: '127.0.0.1:5000'}\n"
            % (storage / "data"),
            encoding="utf-8",
        )
        binary = shutil.which("docker-registry") or str(ORACLE / "usr/bin/docker-registry")
        self._process = subprocess.Popen(
            engine.spaces.inside([binary, "serve", str(config)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ask = ("curl", "-s", "http://127.0.0.1:5000/v2/")
        wait_for(lambda: engine.host(*ask, check=False).ok, "the registry")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


def make_images(engine: Engine, where: Path, numbers: Iterable[int]) -> None:
    """Put the images to pull into the registry in the engine's namespace, one for each round."""
    from bench.image import docker_archive

    for number in numbers:
        archive = docker_archive(where / "image.tar", _pulled(number), PULL_LAYERS_MB, variant=number)
        push = ("skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}")
        engine.host(*push, f"docker://{_pulled(number)}", timeout=300)
        archive.unlink()


def prepare(engine: Engine) -> None:
    """Give an engine the standing objects that operations use."""
    engine.docker("network", "create", "bench")
    engine.docker("network", "create", "other")
    engine.docker(
        "run", "-d", "--name", "standing", "--network", "bench", "--dns", "127.0.0.1", "busybox", "sleep", "36000"
    )
    engine.docker(
        "run", "-d", "--name", "iperf", "--network", "bench", "-p", "5201:5201", "-v", "/:/host:ro", "--tmpfs", "/host/tmp", "busybox",
        "chroot", "/host", "iperf3", "-s",
    )  # fmt: skip
    engine.docker("network", "create", "--internal", "inside")
    engine.docker("network", "connect", "inside", "iperf")


def memory_mb(engine: Engine) -> float:
    """Resident memory of the engine's own processes, without conmon and shims, in megabytes."""
    total = 0
    marks = (str(engine.run_root).encode(), str(engine.socket).encode())
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes()
            program = line.split(b"\0")[0]
            if any(mark in line for mark in marks) and not any(
                word in program for word in (b"shim", b"conmon", b"docker-proxy", b"nsenter", b"unshare")
            ):
                rows = (entry / "status").read_text().splitlines()
                total += next(int(row.split()[1]) for row in rows if row.startswith("VmRSS"))
    return total / 1024


def table(operations: list[Operation], memory: dict[str, float]) -> str:
    """The result as Markdown."""
    rows = ["| operation | Berth | dockerd | Berth is better by |", "|---|---:|---:|---:|"]
    for op in operations:
        ours, theirs = (statistics.median(op.results[k]) for k in ("berth", "dockerd"))
        rows.append(f"| {op.name} | {ours:,.1f} {op.unit} | {theirs:,.1f} {op.unit} | {op.ratio():.2f}× |")
    rows.append(
        f"| idle memory | {memory['berth']:.0f} MB | {memory['dockerd']:.0f} MB | {memory['dockerd'] / memory['berth']:.2f}× |"
    )
    return "\n".join(rows) + "\n"


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="words that an operation's name must contain one of")
    parser.add_argument("--rounds", type=int, help="rounds of each operation")
    args = parser.parse_args()
    chosen = [op for op in OPERATIONS if not args.only or any(word in op.name for word in args.only)]
    if os.geteuid() != 0:
        sys.exit("needs root: it starts engines in namespaces of their own")
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="berth-bench-")))
        busybox = busybox_tar(scratch / "busybox.tar")
        engines: list[Engine] = []
        memory: dict[str, float] = {}
        for engine in (
            Berth("bench-berth", scratch / "berth", "--log-level", "info"),
            Dockerd("bench-dockerd", scratch / "dockerd"),
        ):
            kind = engine.kind
            stack.callback(engine.close)
            engine.start()
            import_busybox(engine, busybox)
            engine.docker("run", "--rm", "busybox", "true")
            memory[kind] = memory_mb(engine)
            prepare(engine)
            engines.append(engine)
        pull = next((op for op in chosen if op.measure is op_pull), None)
        if pull is not None:
            (scratch / "registry").mkdir()
            for number, engine in enumerate(engines):
                registry = Registry(engine, scratch / "registry")
                stack.callback(registry.close)
                if number == 1:
                    make_images(engine, scratch, [WARM_UP, *range(args.rounds or pull.rounds)])
        for op in chosen:
            _measure(op, engines, args.rounds or op.rounds)
        text = table(chosen, memory)
        print("\n" + text)
        _write(chosen, memory, text)
    return 0


def _measure(op: Operation, engines: list[Engine], rounds: int) -> None:
    for engine in engines:
        op.measure(engine, WARM_UP)
    for number in range(rounds):
        for engine in engines if number % 2 == 0 else reversed(engines):
            op.results[engine.kind].append(op.measure(engine, number))
    ours, theirs = (statistics.median(op.results[k]) for k in ("berth", "dockerd"))
    print(
        f"{op.name:28} berth {ours:10.1f} {op.unit:7} dockerd {theirs:10.1f} {op.unit:7} {op.ratio():6.2f}×", flush=True
    )


def _write(operations: list[Operation], memory: dict[str, float], text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    (RESULTS / "latest.md").write_text(
        f"Medians of one run, both engines in turn. {machine}.\n\n{text}", encoding="utf-8"
    )
    figures = {op.name: op.results for op in operations}
    (RESULTS / "latest.json").write_text(
        json.dumps({"machine": machine, "memory_mb": memory, "figures": figures}, indent=1) + "\n", encoding="utf-8"
    )
    (RESULTS / "latest.svg").write_text(
        bars([(op.name, op.ratio()) for op in operations] + [("idle memory", memory["dockerd"] / memory["berth"])]),
        encoding="utf-8",
    )


if __name__ == "__main__":
    raise SystemExit(main())
