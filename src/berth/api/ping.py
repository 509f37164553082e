"""The answer to a ping. Must not: know the engine.

Clients ping before each command they carry out. The usual ping is answered from here at once, without the machinery for
requests in general, which would take as long as a small request.
"""

import re
from typing import Final

from berth.api.headers import HEADERS, date

#: Set on it besides what every answer carries.
PING_HEADERS: Final[dict[str, str]] = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Builder-Version": "1",
    "Swarm": "inactive",
}
#: A ping and nothing else, to the letter; any other is the HTTP server's to judge.
_PING: Final = re.compile(rb"(GET|HEAD) /_ping HTTP/1\.1\r\n(?:[A-Za-z-]+: ?[!-~](?:[ -~]*[!-~])?\r\n)+\r\n")
#: Headers that ask for more than an answer.
_OTHERS: Final = (
    b"\r\ncontent-length:",
    b"\r\ntransfer-encoding:",
    b"\r\nexpect:",
    b"\r\nconnection:",
    b"\r\nupgrade:",
)
_LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in (HEADERS | PING_HEADERS).items())


def quick_answer(request: bytes) -> bytes | None:
    """Return the whole answer to `request` if it is a ping and nothing else, else None."""
    found = _PING.fullmatch(request)
    if found is None:
        return None
    lowered = request.lower()
    if lowered.count(b"\r\nhost:") != 1 or any(other in lowered for other in _OTHERS):
        return None
    body = b"OK" if found[1] == b"GET" else b""
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n{_LINES}"
        f"Content-Length: {len(body)}\r\nDate: {date()}\r\n\r\n"
    )
    return head.encode() + body
