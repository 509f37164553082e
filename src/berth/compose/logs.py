"""Read what containers print: streams of lines, merged by time, printed with a prefix in a colour."""

import sys
import threading
from collections.abc import Iterator
from typing import Final, NamedTuple

from berth.client.errors import ApiError, ClientError
from berth.client.http import Client, Response
from berth.compose.seen import Container

#: The colours in turn: cyan, yellow, green, magenta, blue, then the same in bold.
_COLOURS: Final = ("36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1")


class Line(NamedTuple):
    """One line of output, with its time as the engine prints it (empty if not asked for)."""

    time: str
    text: bytes
    error: bool


def lines(response: Response, *, raw: bool, times: bool) -> Iterator[Line]:
    """Yield the lines of a log stream; `raw` ones carry no frames because the container has a terminal."""
    rests = {1: b"", 2: b""}
    for stream, data in _frames(response, raw=raw):
        *whole, rests[stream] = (rests.get(stream, b"") + data).split(b"\n")
        for text in whole:
            yield _line(text, stream == 2, times=times)
    for stream, text in rests.items():
        if text:
            yield _line(text, stream == 2, times=times)


def _line(text: bytes, error: bool, *, times: bool) -> Line:  # noqa: FBT001  a field of the record
    text = text.removesuffix(b"\r")
    if not times:
        return Line("", text, error)
    time, _, rest = text.partition(b" ")
    return Line(time.decode("ascii", "replace"), rest, error)


def _frames(response: Response, *, raw: bool) -> Iterator[tuple[int, bytes]]:
    """Take the multiplexed stream apart: eight bytes of header (stream, three zeros, length), then the payload."""
    buffer = b""
    for data in response.chunks():
        if raw:
            yield 1, data
            continue
        buffer += data
        while len(buffer) >= 8:
            length = int.from_bytes(buffer[4:8], "big")
            if len(buffer) < 8 + length:
                break
            yield (2 if buffer[0] == 2 else 1), buffer[8 : 8 + length]
            buffer = buffer[8 + length :]


class Printer:
    """Prints lines of several containers, each behind its name."""

    def __init__(self, *, prefix: bool = True, colour: bool = False, times: bool = False) -> None:
        self.prefix, self.colour, self.times = prefix, colour, times
        self.width = 0
        self.names: dict[str, str] = {}
        self.lock = threading.Lock()

    def register(self, container: str, name: str) -> None:
        """Give a container its place among the colours; the widest name sets the width."""
        with self.lock:
            if container not in self.names:
                code = _COLOURS[len(self.names) % len(_COLOURS)]
                self.names[container] = f"\x1b[{code}m" if self.colour else ""
            self.width = max(self.width, len(name))

    def lead(self, container: str, name: str) -> bytes:
        """Return the prefix of a line."""
        if not self.prefix:
            return b""
        colour = self.names.get(container, "")
        return f"{colour}{name.ljust(self.width)}  | {chr(27) + '[0m' if colour else ''}".encode()

    def line(self, container: str, name: str, line: Line) -> None:
        """Print one line, standard error to standard error."""
        out = sys.stderr.buffer if line.error else sys.stdout.buffer
        time = f"{line.time} ".encode() if self.times and line.time else b""
        with self.lock:
            out.write(self.lead(container, name) + time + line.text + b"\n")
            out.flush()

    def status(self, text: str) -> None:
        """Print a line that is no output of a container."""
        with self.lock:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode() + b"\n")
            sys.stdout.buffer.flush()


def short_name(container: Container, project: str) -> str:
    """Return a container's name without the project's."""
    return container.name.removeprefix(f"{project}-") if not container.oneoff else container.name


def open_log(
    client: Client,
    container: str,
    *,
    follow: bool,
    tail: str = "",
    since: str = "",
    until: str = "",
    times: bool = False,
) -> tuple[Response, bool]:
    """Open the log of a container; return the stream and whether it is raw."""
    inspected = client.get(f"/containers/{container}/json")
    query = {
        "follow": follow, "stdout": True, "stderr": True, "timestamps": times,
        "tail": tail or None, "since": since or None, "until": until or None,
    }  # fmt: skip
    return client.stream("GET", f"/containers/{container}/logs", query), bool(
        (inspected.get("Config") or {}).get("Tty")
    )


class Follower(threading.Thread):
    """Prints the log of one container until it ends or `stop` is called."""

    def __init__(
        self,
        client: Client,
        container: str,
        name: str,
        printer: Printer,
        *,
        tail: str = "",
        since: str = "",
        until: str = "",
    ) -> None:
        super().__init__(name=f"log:{name}", daemon=True)
        self.client, self.container, self.shown, self.printer = client, container, name, printer
        self.tail, self.since, self.until = tail, since, until
        self.response: Response | None = None
        self.error: Exception | None = None

    def run(self) -> None:
        """Read and print."""
        try:
            self.response, raw = open_log(
                self.client,
                self.container,
                follow=True,
                tail=self.tail,
                since=self.since,
                until=self.until,
                times=self.printer.times,
            )
            for line in lines(self.response, raw=raw, times=self.printer.times):
                self.printer.line(self.container, self.shown, line)
        except ApiError as error:
            if error.status != 404:
                self.error = error
        except (ClientError, OSError, ValueError):
            return  # the stream was closed, by the engine or by us

    def stop(self) -> None:
        """Hang up."""
        if self.response is not None:
            self.response.close()
