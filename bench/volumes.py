"""What the five-thousandth volume costs: volumes by the API, on Berth and on dockerd.

    sudo .venv/bin/python -m bench.volumes                       5,000 volumes; about five minutes
    sudo .venv/bin/python -m bench.volumes --volumes 500 --only berth

Makes volumes, asks about them and removes them, one call after the other, and starts the engine anew in between with all
of them there. Prints the medians of the first and the last calls, and writes them to bench/results/volumes.md.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tests.support.engines import Dockerd, Engine

from bench.run import RESULTS, memory_mb
from bench.scale import Result, Stopwatch, machine, measured, table

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
    results, both = measured(__doc__, "volumes", 5000, measure, Dockerd)
    text = table(results, "volumes")
    print("\n" + text)
    if both:
        RESULTS.mkdir(exist_ok=True)
        said = f"Medians of the first and the last calls. {machine()}.\n\n"
        (RESULTS / "volumes.md").write_text(said + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
