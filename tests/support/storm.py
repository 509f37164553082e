"""Several clients at once, each with calls drawn from a seed: what storms of networks, volumes and containers share.

    STORM_CALLS=2000 STORM_SEED=7 .venv/bin/python -m pytest tests/scenarios/test_network_storm.py

Each run prints its seed; the same seed makes the same calls in each lane, though not in the same order among lanes.
"""

import os
import random
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.engines import Answer, Berth

LANES = 4
TRIES = 100
SEED = int(os.environ.get("STORM_SEED", "20261124"))


def calls(default: int) -> int:
    """Return how many calls each lane makes in a round."""
    return int(os.environ.get("STORM_CALLS", str(default)))


class Lane:
    """One client. A verb makes one call, or a few that belong together, and returns the answer that counts."""

    #: What may be answered with 500, whole: what Docker answers so, or what another lane made of it meanwhile.
    system: re.Pattern[str]

    def __init__(self, engine: Berth, number: int) -> None:
        self.engine, self.number, self.random = engine, number, random.Random(SEED + number)
        self.seen: Counter[tuple[str, int]] = Counter()
        self.faults: list[str] = []

    def verbs(self) -> Sequence[Callable[[], Answer]]:
        """What it may do next, likelier things more often."""
        raise NotImplementedError

    def api(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return self.engine.api(method, path, body, **more)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def run(self, count: int) -> None:
        verbs = self.verbs()
        for _ in range(count):
            verb = self.random.choice(verbs)
            try:
                answer = verb()
            except Exception as exc:
                self.faults.append(f"{verb.__name__}: {exc!r}")
                return
            self.seen[verb.__name__, answer.status] += 1
            if answer.status > 500 or (answer.status == 500 and not self.system.fullmatch(answer.message)):
                self.faults.append(f"{verb.__name__}: {answer.status} {answer.message}")


def blow(lanes: Sequence[Lane], count: int) -> None:
    """Let all lanes make their calls at once, and see that none found fault."""
    threads = [threading.Thread(target=lane.run, args=(count,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [fault for lane in lanes for fault in lane.faults]
    assert not faults, "\n".join(faults)


def answered(lanes: Sequence[Lane], went_through: Sequence[str]) -> None:
    """Say what was answered, and see that each of these verbs went through at least once.

    What had no luck among the others is tried on between calls of one client alone.
    """
    seen = sum((lane.seen for lane in lanes), Counter[tuple[str, int]]())
    print(f"answers: {sorted(seen.items())}")
    done = {verb for verb, status in seen if 200 <= status < 300}
    for verb in went_through:
        for _ in range(TRIES if verb not in done else 0):
            if 200 <= getattr(lanes[0], verb)().status < 300:
                done.add(verb)
                break
            lanes[0].run(1)
        assert verb in done, f"no {verb} ever went through"
    assert not lanes[0].faults, lanes[0].faults
