"""What the five-thousandth volume costs: volumes by the API, on Berth and on dockerd.

    sudo .venv/bin/python -m bench.volumes                       5,000 volumes; about five minutes
    sudo .venv/bin/python -m bench.volumes --volumes 500 --only berth

Makes volumes, asks about them and removes them, one call after the other, and starts the engine anew in between with all
of them there. Prints the medians of the first and the last calls, and writes them to bench/results/volumes.md.
"""

import argparse
import contextlib
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.support.engines import Berth, Dockerd, Engine, busybox_tar, import_busybox

from bench.run import RESULTS, memory_mb
from bench.scale import Result, Stopwatch, table

#: How many looks at one volume, and containers with one, are timed with few volumes there and again with all.
LOOKS = 60


def _call(engine: Engine, method: str, path: str, body: object = None) -> Callable[[], Any]:
    def job() -> Any:  # noqa: ANN401  JSON
        answer = engine.api(method, path, body, timeout=300)
        assert answer.status < 300, f"{engine.kind}: {method} {path}: {answer.status} {answer.message}"
        return answer.body

    return job


def _used(engine: Engine, name: str) -> Callable[[], Any]:
    want = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": [f"{name}:/d"]}}

    def job() -> None:
        ident = _call(engine, "POST", "/containers/create", want)()["Id"]
        _call(engine, "POST", f"/containers/{ident}/start")()
        _call(engine, "POST", f"/containers/{ident}/wait")()
        _call(engine, "DELETE", f"/containers/{ident}?force=1")()

    return job


def measure(engine: Engine, volumes: int, limit_s: float) -> Result:
    """Make all, look, start anew, remove all."""
    result = Result(engine.kind)
    watch = Stopwatch(engine, result, limit_s)

    def make(numbers: range) -> int:
        return watch.each(
            "volume create", (_call(engine, "POST", "/volumes/create", {"Name": f"scale{n}"}) for n in numbers)
        )

    def look(name: str) -> None:
        watch.each("volume inspect", (_call(engine, "GET", f"/volumes/{name}") for _ in range(LOOKS)))
        named = quote(json.dumps({"name": [f"{name}x"]}))
        watch.each("volume ls by name", (_call(engine, "GET", f"/volumes?filters={named}") for _ in range(LOOKS)))
        watch.each("run with a volume", (_used(engine, name) for _ in range(LOOKS // 2)))

    result.memory[0] = memory_mb(engine)
    few = make(range(100))
    look("scale0")
    made = make(range(few, volumes))
    result.memory[made] = memory_mb(engine)
    look("scale1")

    watch.each("volume ls, all", (_call(engine, "GET", "/volumes") for _ in range(5)))
    watch.each("system df, volumes", (_call(engine, "GET", "/system/df?type=volume") for _ in range(2)))
    if engine.kind == "berth":
        watch.each("volume ls --size", (lambda: engine.berth("volume", "ls", "--size", timeout=300) for _ in range(3)))
    began = time.perf_counter()
    engine.stop()
    stopped = time.perf_counter()
    engine.start()
    result.calls["start with all"] = [(time.perf_counter() - stopped) * 1e3]
    result.cpu["start with all"] = [0.0]
    print(
        f"{engine.kind:8} stop {stopped - began:.2f} s, start with {made} volumes {time.perf_counter() - stopped:.2f} s"
    )
    watch.each("volume rm", (_call(engine, "DELETE", f"/volumes/scale{n}") for n in reversed(range(made))))
    return result


def main() -> int:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, default=5000)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for a step of an engine (default 180)")
    parser.add_argument("--only", choices=("berth", "dockerd"))
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root: it starts engines in namespaces of their own")
    results = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="berth-volumes-")))
        busybox = busybox_tar(scratch / "busybox.tar")
        for kind in ("berth", "dockerd"):
            if args.only not in (None, kind):
                continue
            with contextlib.ExitStack() as own:
                engine: Engine
                if kind == "berth":
                    engine = Berth("volumes-berth", scratch / kind, "--log-level", "info")
                else:
                    engine = Dockerd("volumes-dockerd", scratch / kind)
                own.callback(engine.close)
                engine.start()
                import_busybox(engine, busybox)
                results.append(measure(engine, args.volumes, args.limit))
    text = table(results).replace(" networks |", " volumes |")
    print("\n" + text)
    if args.only is None:
        machine = f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "volumes.md").write_text(
            f"Medians of the first and the last calls. {machine}.\n\n{text}", encoding="utf-8"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
