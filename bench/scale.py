"""What the thousandth network costs: networks, endpoints and published ports by the API, on Berth and on dockerd.

    sudo .venv/bin/python -m bench.scale                        1,000 networks, 2,000 endpoints; about ten minutes
    sudo .venv/bin/python -m bench.scale --networks 200 --limit 60 --only berth

Each network gets two of a hundred running containers, and every fifth a container that publishes a port and stays:
"publish" is its start, "remove published" its end. Networks, connections and ports come in turns, so that each is measured
with few and with many of all. An engine that is slow stops where its time for a step is over: its curve ends there. Prints
the first and the last of each kind, and writes a table, the figures and a plot to bench/results/.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.engines import Berth, Dockerd, Engine, busybox_tar, import_busybox

from bench.plot import Curve, lines
from bench.run import RESULTS, memory_mb

CONTAINERS = 100
#: Networks made in one turn, and how many of them are between one published port and the next.
TURN, PUBLISHED = 50, 5
#: How many measurements at either end of a curve make its first and its last.
ENDS = 25
_SLEEP = {"Image": "busybox", "Cmd": ["sleep", "100000"], "StopTimeout": 0}


class Roomy(Dockerd):
    """The original with subnets as small as ours: else it ends at its 31st network."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--default-address-pool", "base=10.0.0.0/8,size=24"]


@dataclass
class Result:
    """What one engine did: milliseconds of every call, by kind, in order."""

    kind: str
    calls: dict[str, list[float]] = field(default_factory=dict)
    #: Milliseconds of processor time the daemon itself took for them: what others do on the machine is not in it.
    cpu: dict[str, list[float]] = field(default_factory=dict)
    memory: dict[int, float] = field(default_factory=dict)

    def ends(self, what: str) -> tuple[float, float] | None:
        """Return the medians of the first and the last calls."""
        return _ends(self.calls.get(what, []))

    def cpu_ends(self, what: str) -> tuple[float, float] | None:
        """Return the same of the daemon's processor time."""
        return _ends(self.cpu.get(what, []))


def _ends(took: list[float]) -> tuple[float, float] | None:
    if len(took) < 2 * ENDS:
        return None
    return statistics.median(took[:ENDS]), statistics.median(took[-ENDS:])


def busy_ms(engine: Engine) -> float:
    """Return the processor time of a daemon so far, in milliseconds."""
    assert engine.process is not None
    total = 0
    for task in Path(f"/proc/{engine.process.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


class Stopwatch:
    """Times calls of one engine, until a step's time is over."""

    def __init__(self, engine: Engine, result: Result, limit_s: float) -> None:
        self.engine, self.result, self.limit_s = engine, result, limit_s

    def each(self, what: str, jobs: Iterator[Callable[[], Any]]) -> int:
        """Do and time jobs one after the other, and say how long they took; return how many were done so far."""
        done = self.turn(what, jobs)
        self.say(what)
        return done

    def turn(self, what: str, jobs: Iterator[Callable[[], Any]]) -> int:
        """Do and time jobs, unless the time for their kind is over; return how many were done so far."""
        took = self.result.calls.setdefault(what, [])
        busy = self.result.cpu.setdefault(what, [])
        deadline = time.monotonic() + self.limit_s - sum(took) / 1e3
        if took and time.monotonic() > deadline:
            return len(took)
        for job in jobs:
            before, began = busy_ms(self.engine), time.perf_counter()
            job()
            took.append((time.perf_counter() - began) * 1e3)
            busy.append(busy_ms(self.engine) - before)
            if time.monotonic() > deadline:
                break
        return len(took)

    def say(self, what: str) -> None:
        """Print what jobs of a kind took."""
        took, ends = self.result.calls[what], self.result.ends(what)
        first, last = ends or (statistics.median(took), statistics.median(took))
        print(f"{self.engine.kind:8} {what:20} {len(took):5} times, {first:8.1f} ms, then {last:8.1f} ms", flush=True)


def _call(engine: Engine, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401  JSON
    answer = engine.api(method, path, body, timeout=300)
    if answer.status >= 300:
        raise AssertionError(f"{engine.kind}: {method} {path}: {answer.status} {answer.message}")
    return answer.body


def _guest(number: int, turn: int, guests: list[str]) -> str:
    return guests[(2 * number + turn) % len(guests)]


def measure(engine: Engine, networks: int, limit_s: float) -> Result:
    """Make everything, ask about it, and take it away again."""
    result = Result(engine.kind)
    watch = Stopwatch(engine, result, limit_s)
    result.memory[0] = memory_mb(engine)

    def call(method: str, path: str, body: object = None) -> Callable[[], Any]:
        return lambda: _call(engine, method, path, body)

    def start(_: int) -> str:
        ident = str(_call(engine, "POST", "/containers/create", _SLEEP)["Id"])
        _call(engine, "POST", f"/containers/{ident}/start")
        return ident

    with ThreadPoolExecutor(4) as pool:
        guests = list(pool.map(start, range(CONTAINERS)))

    def publish(numbers: range) -> Iterator[Callable[[], Any]]:
        for number in numbers:
            want = _SLEEP | {"HostConfig": {"NetworkMode": f"scale{number}", "PortBindings": {"80/tcp": [{}]}}}
            published.append(str(_call(engine, "POST", "/containers/create", want)["Id"]))
            yield call("POST", f"/containers/{published[-1]}/start")

    def connect(numbers: range) -> Iterator[Callable[[], Any]]:
        for number in numbers:
            for turn in (0, 1):
                yield call("POST", f"/networks/scale{number}/connect", {"Container": _guest(number, turn, guests)})

    def create(numbers: range) -> Iterator[Callable[[], Any]]:
        return (call("POST", "/networks/create", {"Name": f"scale{number}"}) for number in numbers)

    published: list[str] = []
    made = joined = 0
    while made < networks:
        turn = range(made, min(made + TURN, networks))
        made = watch.turn("network create", create(turn))
        if joined == 2 * turn.start:
            joined = watch.turn("network connect", connect(range(turn.start, made)))
        watch.turn("publish", publish(range(turn.start, made, PUBLISHED)))
        if made < turn.stop:
            break
    for what in ("network create", "network connect", "publish"):
        watch.say(what)
    result.memory[made] = memory_mb(engine)
    if engine.kind == "berth":
        watch.each("port ls", (call("GET", "/berth/ports") for _ in range(5)))
    watch.each("network ls", (call("GET", "/networks") for _ in range(5)))
    watch.each("network inspect", (call("GET", f"/networks/scale{n}") for n in range(min(made, 50))))
    watch.each("run and remove", (lambda: _run(engine) for _ in range(20)))
    watch.each("remove published", (call("DELETE", f"/containers/{ident}?force=1") for ident in reversed(published)))
    for ident in published:  # those it had no time for
        engine.api("DELETE", f"/containers/{ident}?force=1", timeout=300)
    watch.each(
        "network disconnect",
        (
            call(
                "POST",
                f"/networks/scale{number // 2}/disconnect",
                {"Container": _guest(number // 2, number % 2, guests)},
            )
            for number in reversed(range(joined))
        ),
    )
    still = -(-(joined - len(result.calls["network disconnect"])) // 2)  # networks that have a container yet
    watch.each("network rm", (call("DELETE", f"/networks/scale{n}") for n in reversed(range(still, made))))
    return result


def _run(engine: Engine) -> None:
    ident = _call(engine, "POST", "/containers/create", _SLEEP)["Id"]
    _call(engine, "POST", f"/containers/{ident}/start")
    _call(engine, "DELETE", f"/containers/{ident}?force=1")


def table(results: list[Result], many: str) -> str:
    """The first and the last calls of each kind, as Markdown; `many` names what there were so many of."""
    rows = [
        "| call | engine | calls | first | last | grew | daemon's CPU, first | last | grew |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for what in results[0].calls:
        for result in results:
            ends, busy = result.ends(what), result.cpu_ends(what)
            took = result.calls.get(what, [])
            if ends and busy:
                said = " | ".join(
                    f"{first:,.1f} ms | {last:,.1f} ms | {last / first:.2f}×" for first, last in (ends, busy)
                )
                rows.append(f"| {what} | {result.kind} | {len(took):,} | {said} |")
            elif took:
                own = statistics.median(result.cpu[what])
                rows.append(
                    f"| {what} | {result.kind} | {len(took):,} | {statistics.median(took):,.1f} ms | | | {own:,.1f} ms | | |"
                )
    for result in results:
        most = max(result.memory)
        rows.append(
            f"| memory | {result.kind} | {most:,} {many} | {result.memory[0]:.0f} MB | {result.memory[most]:.0f} MB "
            f"| {result.memory[most] / result.memory[0]:.2f}× | | | |"
        )
    return "\n".join(rows) + "\n"


def smoothed(took: list[float], per_network: float) -> list[tuple[float, float]]:
    """Return the medians of neighbours by how many networks there were, so that the course is seen and not the noise."""
    return [
        ((at + ENDS / 2) / per_network, statistics.median(took[at : at + ENDS]))
        for at in range(0, max(len(took) - ENDS, 0) + 1, ENDS)
    ]


def curves(results: list[Result]) -> list[Curve]:
    """What is drawn: making networks, joining them, and publishing on them."""
    colours = {"berth": ("#2a7f62", "#7cc4a8"), "dockerd": ("#b5482a", "#e5a58f")}
    kinds = (("network create", 0, False, 1.0), ("network connect", 0, True, 2.0), ("publish", 1, False, 1 / PUBLISHED))
    return [
        Curve(f"{result.kind}: {what}", colours[result.kind][shade], dashed, smoothed(result.cpu[what], per_network))
        for result in results
        for what, shade, dashed, per_network in kinds
    ]


def measured(
    about: str | None, what: str, most: int, measure: Callable[[Engine, int, float], Result], dockerd: type[Dockerd]
) -> tuple[list[Result], bool]:
    """Read the command line and measure on either engine; tell whether both were asked for."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(f"--{what}", dest="most", type=int, default=most)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for a step of an engine (default 180)")
    parser.add_argument("--only", choices=("berth", "dockerd"))
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root: it starts engines in namespaces of their own")
    results = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"berth-{what}-")))
        busybox = busybox_tar(scratch / "busybox.tar")
        for kind in ("berth", "dockerd"):
            if args.only not in (None, kind):
                continue
            with contextlib.ExitStack() as own:
                engine: Engine
                if kind == "berth":
                    engine = Berth(f"{what}-berth", scratch / kind, "--log-level", "info")
                else:
                    engine = dockerd(f"{what}-dockerd", scratch / kind)
                own.callback(engine.close)
                engine.start()
                import_busybox(engine, busybox)
                results.append(measure(engine, args.most, args.limit))
    return results, args.only is None


def machine() -> str:
    """Say what was measured on."""
    return f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def main() -> int:
    """Measure and write the results."""
    results, both = measured(__doc__, "networks", 1000, measure, Roomy)
    text = table(results, "networks")
    print("\n" + text)
    if both:
        _write(results, text)
    return 0


def _write(results: list[Result], text: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    said = f"Medians of the first and the last {ENDS} calls. {machine()}. Where an engine did fewer, its time was over.\n\n"
    (RESULTS / "scale.md").write_text(said + text, encoding="utf-8")
    figures = {result.kind: {"calls": result.calls, "cpu": result.cpu, "memory": result.memory} for result in results}
    (RESULTS / "scale.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    title = "Processor time of the daemon for one call, in milliseconds, by how many networks there are already"
    (RESULTS / "scale.svg").write_text(lines(title, curves(results)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
