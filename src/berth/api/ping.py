"""The answer to a ping. Must not: know the engine.

Clients ping before each command they carry out. The usual ping is answered from here at once, without the machinery for
requests in general, which would take as long as a small request.
"""

import time
from email.utils import formatdate
from typing import Final

from berth.api.headers import HEADERS

#: Set on it besides what every answer carries.
PING_HEADERS: Final[dict[str, str]] = {
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Builder-Version": "1",
    "Swarm": "inactive",
}
#: What is said to each form of it.
_BODIES: Final = {b"HEAD /_ping HTTP/1.1": b"", b"GET /_ping HTTP/1.1": b"OK"}
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
    line, _, _ = request.partition(b"\r\n")
    body = _BODIES.get(line)
    if body is None or not request.endswith(b"\r\n\r\n") or request.find(b"\r\n\r\n") != len(request) - 4:
        return None
    if any(other in request.lower() for other in _OTHERS):
        return None
    length = 0 if line.startswith(b"HEAD") else len(body)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n{_LINES}"
        f"Content-Length: {length}\r\nDate: {formatdate(time.time(), usegmt=True)}\r\n\r\n"  # noqa: TID251  a header's
    )
    return head.encode() + body
