"""Show what goes on, on standard error: lines on a pipe, a live picture on a terminal. Own ANSI, no library."""

import sys
import threading
import time
from typing import Final, Self, TextIO

#: Seconds between two pictures of the spinner.
TICK_S: Final = 0.1
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_GREEN, _YELLOW, _RED, _BLUE, _RESET = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[34m", "\x1b[0m"


class Quiet:
    """Shows nothing but warnings."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.out = out or sys.stderr
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to put back."""

    def working(self, noun: str, name: str, text: str) -> None:
        """Something has begun."""

    def done(self, noun: str, name: str, text: str) -> None:
        """Something is done."""

    def failed(self, noun: str, name: str, text: str) -> None:
        """Something went wrong."""

    def warn(self, text: str) -> None:
        """Tell the user something that is no failure."""
        with self.lock:
            self.out.write(f"WARN: {text}\n")
            self.out.flush()


class Plain(Quiet):
    """One line for each change."""

    def _line(self, noun: str, name: str, text: str) -> None:
        with self.lock:
            self.out.write(f" {noun} {name}  {text}\n")
            self.out.flush()

    def working(self, noun: str, name: str, text: str) -> None:
        """Print a line."""
        self._line(noun, name, text)

    def done(self, noun: str, name: str, text: str) -> None:
        """Print a line."""
        self._line(noun, name, text)

    def failed(self, noun: str, name: str, text: str) -> None:
        """Print a line."""
        self._line(noun, name, f"Error {text}" if text else "Error")


class Json(Plain):
    """One JSON object for each change."""

    def _line(self, noun: str, name: str, text: str) -> None:
        import json

        with self.lock:
            self.out.write(json.dumps({"id": f"{noun} {name}", "status": text}) + "\n")
            self.out.flush()


class _Row:
    __slots__ = ("began", "ended", "mark", "text")

    def __init__(self, began: float) -> None:
        self.began, self.ended, self.mark, self.text = began, 0.0, "", ""


class Live(Quiet):
    """A picture of all that goes on, redrawn in place."""

    def __init__(self, out: TextIO | None = None, *, colour: bool = True, size: tuple[int, int] = (80, 24)) -> None:
        super().__init__(out)
        self.colour, self.columns, self.lines_ = colour, size[0], size[1]
        self.rows: dict[tuple[str, str], _Row] = {}
        self.drawn = 0
        self.frame = 0
        self.stopped = threading.Event()
        self.ticker: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.stopped.clear()
        self.ticker = threading.Thread(target=self._tick, name="progress", daemon=True)
        self.ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        if self.ticker is not None:
            self.ticker.join()
        with self.lock:
            self._draw()
            # It stays as it is; what a command does afterwards is another picture, below what was printed meanwhile.
            self.rows, self.drawn = {}, 0

    def _tick(self) -> None:
        while not self.stopped.wait(TICK_S):
            with self.lock:
                self.frame += 1
                self._draw()

    def _set(self, noun: str, name: str, text: str, mark: str) -> None:
        now = time.monotonic()
        with self.lock:
            row = self.rows.setdefault((noun, name), _Row(now))
            row.text, row.mark = text, mark
            row.ended = now if mark else 0.0

    def working(self, noun: str, name: str, text: str) -> None:
        """Set a row spinning."""
        self._set(noun, name, text, "")

    def done(self, noun: str, name: str, text: str) -> None:
        """Tick a row off."""
        self._set(noun, name, text, "✔")

    def failed(self, noun: str, name: str, text: str) -> None:
        """Cross a row out."""
        self._set(noun, name, f"Error {text}" if text else "Error", "✘")

    def warn(self, text: str) -> None:
        """Print above the picture."""
        with self.lock:
            self._erase()
            self.out.write(f"{self._paint(_YELLOW, 'WARN')}: {text}\n")
            self._draw()

    def _paint(self, code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if self.colour else text

    def _erase(self) -> None:
        if self.drawn:
            self.out.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0

    def _draw(self) -> None:
        self._erase()
        if not self.rows:
            return
        now = time.monotonic()
        finished = sum(1 for row in self.rows.values() if row.mark)
        lines = [self._paint(_BLUE, f"[+] {finished}/{len(self.rows)}")]
        rows = list(self.rows.items())
        room = max(1, self.lines_ - 2)
        if len(rows) > room:
            # Those still at work matter most when not all fit.
            rows = sorted(rows, key=lambda item: bool(item[1].mark))[:room]
        width = max(len(f"{noun} {name}") for (noun, name), _ in rows)
        for (noun, name), row in rows:
            seconds = f"{(row.ended or now) - row.began:.1f}s"
            mark = row.mark or _SPINNER[self.frame % len(_SPINNER)]
            code = {"✔": _GREEN, "✘": _RED}.get(row.mark, _YELLOW)
            body = f"{noun} {name}".ljust(width) + f"  {row.text}"
            body = body[: max(1, self.columns - len(seconds) - 5)]
            gap = " " * max(1, self.columns - len(body) - len(seconds) - 4)
            lines.append(
                f" {self._paint(code, mark)} {self._paint(code, body) if row.mark == '✘' else body}{gap}{seconds}"
            )
        self.out.write("\n".join(lines) + "\n")
        self.out.flush()
        self.drawn = len(lines)


def choose(mode: str, ansi: str, *, dry_run: bool = False) -> Quiet:
    """Choose how to show progress: `auto`, `tty`, `plain`, `json`, `quiet`; `ansi` is `auto`, `always`, `never`."""
    import os

    terminal = sys.stderr.isatty()
    if mode == "quiet":
        return Quiet()
    if mode == "json":
        return Json()
    if dry_run or mode == "plain" or (mode != "tty" and (not terminal or ansi == "never")):
        return Plain()
    colour = ansi == "always" or (ansi != "never" and not os.environ.get("NO_COLOR"))
    try:
        size = os.get_terminal_size(2)
    except OSError:
        return Live(colour=colour)
    # A pseudo-terminal nobody has given a size says 0 by 0.
    return Live(colour=colour, size=(size.columns or 80, size.lines or 24))
