"""Small requests: those that arrived whole and ask for nothing unusual. Read here, and their answers written, strictly.

What does not fit the grammar below to the letter is no small request and goes to the HTTP server, which judges it;
so nothing is ever read in two ways. Pure.
"""

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web
from multidict import MultiDict, MultiDictProxy
from yarl import URL

from berth.api.headers import HEADERS, date

if TYPE_CHECKING:
    from multidict import MultiMapping

#: A request longer than this in all, in bytes, is not small.
LONGEST: Final = 256 * 1024
#: A head longer than this is not small.
LONGEST_HEAD: Final = 16 * 1024

_END: Final = b"\r\n\r\n"
_HEAD: Final = re.compile(
    rb"(GET|HEAD|POST|PUT|DELETE) (/[!\"$-~]*) HTTP/1\.1\r\n((?:[A-Za-z-]+: ?[!-~](?:[ -~]*[!-~])?\r\n)*)\Z"
)
#: How something begins that is no request of HTTP/1: another protocol, or lines that end by a line feed alone.
_FOREIGN: Final = re.compile(rb"[^A-Z]|[^\n]*(?<!\r)\n")
#: Headers that change nothing about how a request is read; any other one, and any value but these, is unusual.
_HARMLESS: Final = frozenset({"host", "user-agent", "content-type", "accept", "accept-encoding", "content-length"})
_KEPT_ALIVE: Final = ("connection", "keep-alive")
_LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
_NO_QUERY: Final[MultiDictProxy[str]] = MultiDictProxy(MultiDict())
#: Statuses whose answers have no body (RFC 9110, section 6.4.1).
_BODILESS: Final = frozenset({204, 304})


class SmallRequest:
    """A whole request: method, target, the type its body is said to have, and body."""

    __slots__ = ("body", "content_type", "method", "path", "path_qs", "query")

    def __init__(self, method: str, target: str, content_type: str, body: bytes) -> None:
        self.method = method
        self.path, self.path_qs = target, target
        self.query: MultiMapping[str] = _NO_QUERY
        if "%" in target or "?" in target:
            path, _, query = target.partition("?")
            url = URL.build(path=path, query_string=query, encoded=True)
            self.path, self.query = url.path, url.query
        self.content_type = content_type
        self.body = body


class Unusual(Exception):
    """A request is not small."""


def is_foreign(beginning: bytes) -> bool:
    """Whether what begins so cannot become a request: there is no end of a head to wait for."""
    return _FOREIGN.match(beginning) is not None


def parse(data: bytes) -> tuple[SmallRequest, bytes] | None:
    """Return the first request in `data` and what follows it, or None while it is not whole. Raises `Unusual`."""
    end = data.find(_END, 0, LONGEST_HEAD)
    if end < 0:
        if len(data) >= LONGEST_HEAD or is_foreign(data):
            raise Unusual
        return None
    head = _HEAD.match(data, 0, end + 2)
    if head is None:
        raise Unusual
    start = end + len(_END)
    length, content_type = _said(head[3].decode("ascii"))
    stop = start + length
    if stop > LONGEST:
        raise Unusual
    if len(data) < stop:
        return None
    request = SmallRequest(head[1].decode("ascii"), head[2].decode("ascii"), content_type, data[start:stop])
    return request, data[stop:]


def _said(lines: str) -> tuple[int, str]:
    """Return the length and the type of the body."""
    seen: set[str] = set()
    length, content_type = 0, ""
    for line in lines.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        if name in seen or (name not in _HARMLESS and (name, value.lower()) != _KEPT_ALIVE):
            raise Unusual
        seen.add(name)
        if name == "content-length":
            if not value.isdigit() or len(value) > len(str(LONGEST)):
                raise Unusual
            length = int(value)
        elif name == "content-type":
            content_type = value
    if "host" not in seen:
        raise Unusual
    return length, content_type


def render(request: SmallRequest, answer: web.Response) -> bytes:
    """Return what goes out on the wire."""
    body = answer.body
    content = body if isinstance(body, bytes) else b""
    head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"]
    head += [f"{name}: {value}\r\n" for name, value in answer.headers.items() if name not in HEADERS]
    if answer.status not in _BODILESS and "Content-Length" not in answer.headers:
        head.append(f"Content-Length: {len(content)}\r\n")
    head.append(f"{_LINES}Date: {date()}\r\n\r\n")
    if request.method == "HEAD" or answer.status in _BODILESS:
        content = b""
    return "".join(head).encode() + content
