"""One request as handlers see it: path, query, body in; JSON, nothing or a stream out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote_plus

import msgspec
from aiohttp import web

from berth.api.headers import HEADERS
from berth.api.versions import Version
from berth.base.errors import InvalidArgument
from berth.wire.decode import decode
from berth.wire.filters import Filters, parse_filters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from berth.api.small import SmallRequest
    from berth.daemon.engine import Engine

T = TypeVar("T")

#: Largest JSON body accepted, in bytes; archives and images are streamed and have no limit here.
MAX_BODY_BYTES: Final = 8 * 1024 * 1024

_FALSE: Final = frozenset({"", "0", "no", "false", "none"})


class MalformedBody(InvalidArgument):
    """A body is no JSON, or not of the shape asked for."""


class Call:
    """A request for one route, already matched and of a version the engine speaks."""

    def __init__(self, request: web.BaseRequest, engine: Engine, version: Version, path: dict[str, str]) -> None:
        self.request = request
        self.engine = engine
        self.version = version
        self.path = path
        self.query = request.query
        self._target = request.path_qs
        self.method = request.method
        self._raw: bytes | None = None
        self._content_type = request.headers.get("Content-Type", "")

    @classmethod
    def small(cls, request: SmallRequest, engine: Engine, version: Version, path: dict[str, str]) -> Call:
        """Make the call of a request that is all here already; it has no `request` to read from or stream to."""
        call = cls.__new__(cls)
        call.engine, call.version, call.path = engine, version, path
        call.method, call.query = request.method, request.query
        call._target = request.path_qs  # noqa: SLF001  its own
        call._raw, call._content_type = request.body, request.content_type  # noqa: SLF001  its own
        return call

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read a boolean parameter as Docker does: absent, empty, 0, no, false, none are false."""
        value = self.query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def text(self, name: str, default: str = "") -> str:
        """Read a text parameter."""
        return self.query.get(name, default)

    def filename(self, name: str) -> str:
        """Read a parameter that is a path: bytes in it that are no UTF-8 stay what they are (PEP 383)."""
        value = self.query.get(name, "")
        if "\ufffd" not in value:
            return value
        for pair in self._target.partition("?")[2].split("&"):
            key, _, said = pair.partition("=")
            if unquote_plus(key) == name:
                return unquote_plus(said, errors="surrogateescape")
        return value

    def texts(self, name: str) -> list[str]:
        """Read a parameter that may be repeated."""
        return self.query.getall(name, [])

    def integer(self, name: str, default: int | None = None) -> int | None:
        """Read a whole number; raises `InvalidArgument` for anything else."""
        value = self.query.get(name, "")
        if not value:
            return default
        try:
            return int(value)
        except ValueError:
            raise InvalidArgument(f'strconv.Atoi: parsing "{value}": invalid syntax ({name})') from None

    def filters(self) -> Filters:
        """Read the ``filters`` parameter."""
        return parse_filters(self.query.get("filters", ""))

    async def body(self, kind: type[T]) -> T:
        """Decode the JSON body; an empty one is an error. Raises `MalformedBody`."""
        raw = await self.json_body()
        if not raw.strip():
            raise MalformedBody("invalid JSON: got EOF while reading request body")
        try:
            return decode(raw, kind)
        except msgspec.ValidationError as exc:
            raise MalformedBody(f"invalid JSON: {exc}") from None
        except msgspec.DecodeError as exc:
            raise MalformedBody(f"invalid JSON: {exc}") from None
        except RecursionError:
            raise MalformedBody("invalid JSON: exceeded max depth") from None

    async def optional_body(self, kind: type[T], default: T) -> T:
        """Decode the JSON body, or return `default` where there is none (also for ``null``)."""
        raw = (await self.json_body()).strip()
        if raw in (b"", b"null"):
            return default
        return await self.body(kind)

    async def json_body(self) -> bytes:
        """Read a body that has to be JSON and to be called so. Raises `InvalidArgument`.

        A browser lets any page send texts and forms anywhere, but JSON only where the receiver agrees beforehand: this
        keeps pages from an engine that listens on TCP.
        """
        raw = await self.raw_body()
        if raw and self._content_type.partition(";")[0].strip().lower() != "application/json":
            raise InvalidArgument(f"unsupported Content-Type header ({self._content_type}): must be 'application/json'")
        return raw

    async def raw_body(self) -> bytes:
        """Read the whole body. Raises `InvalidArgument` above the limit."""
        if self._raw is None:
            length = self.request.content_length or 0
            if length > MAX_BODY_BYTES:
                raise InvalidArgument(f"request body of {length} bytes exceeds {MAX_BODY_BYTES}")
            pieces, length = [], 0
            async for piece in self.request.content.iter_any():
                length += len(piece)
                if length > MAX_BODY_BYTES:
                    raise InvalidArgument(f"request body exceeds {MAX_BODY_BYTES} bytes")
                pieces.append(piece)
            self._raw = b"".join(pieces)
        return self._raw

    def json(self, value: Any, status: int = 200) -> web.Response:  # noqa: ANN401  any JSON value
        """Answer with JSON and, as Docker does, a line end."""
        return web.Response(body=msgspec.json.encode(value) + b"\n", status=status, content_type="application/json")

    def empty(self, status: int = 204) -> web.Response:
        """Answer with a status alone."""
        return web.Response(status=status)

    async def stream(
        self, content_type: str = "application/json", status: int = 200, headers: Mapping[str, str] | None = None
    ) -> web.StreamResponse:
        """Begin a streamed answer; its head is on the wire when this returns."""
        head = HEADERS | {"Content-Type": content_type} | dict(headers or {})
        response = web.StreamResponse(status=status, headers=head)
        await send_head(self.request, response)
        return response


async def send_head(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send the head now instead of with the first bytes of the body: clients wait for it."""
    writer = await response.prepare(request)
    if writer is not None:
        writer.send_headers()
        await writer.drain()
