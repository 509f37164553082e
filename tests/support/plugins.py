"""A plugin process for a test (see `network_plugin`), run in an engine's namespaces or here."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("network_plugin.py")


class PluginProcess:
    """One plugin that listens on `socket`; `inside` turns a command into one that runs where it shall."""

    def __init__(
        self, socket: Path, place: Path, inside: Callable[[Sequence[str]], list[str]] = list, name: str = ""
    ) -> None:
        self.socket, self.place, self._inside = socket, place, inside
        self.name = name or socket.stem
        place.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._inside([sys.executable, "-I", str(PROGRAM), str(self.socket), str(self.place)]),
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def faults(self, **faults: Any) -> None:
        """Misbehave from now on: ``Kind_Method=how``; none for well behaved."""
        named = {key.replace("_", ".", 1): how for key, how in faults.items()}
        (self.place / "faults.json").write_text(json.dumps(named))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Every call so far, oldest first: method, ask, accept."""
        path = self.place / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def methods(self) -> list[str]:
        return [one["method"] for one in self.calls]

    def last(self, method: str) -> dict[str, Any]:
        """Return what the last call of a method asked."""
        asked = [one["ask"] for one in self.calls if one["method"] == method]
        assert asked, f"{method} was never called: {self.methods()}"
        return asked[-1]  # type: ignore[no-any-return]

    @property
    def state(self) -> dict[str, Any]:
        """What the plugin remembers: networks, endpoints, pools, given addresses."""
        path = self.place / "state.json"
        empty: dict[str, Any] = {"networks": {}, "endpoints": {}, "pools": {}, "given": {}}
        return json.loads(path.read_text()) if path.exists() else empty

    def is_empty(self) -> bool:
        return not any(self.state.values())
