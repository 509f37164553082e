"""Accepts connections, finds the route, maps errors. Must not: know any noun."""

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from aiohttp import HttpVersion11, web

from berth.api import versions
from berth.api.call import Call
from berth.api.errors import to_response
from berth.api.front import FrontServer
from berth.api.headers import HEADERS
from berth.api.routes import Route, Router
from berth.api.small import SmallRequest
from berth.base.aio import finish
from berth.base.errors import EngineError
from berth.base.ids import new_id
from berth.base.log import operation

if TYPE_CHECKING:
    from berth.daemon.engine import Engine

log = logging.getLogger(__name__)

#: How long a shutdown waits for running requests, in seconds, before it cancels them.
SHUTDOWN_S: Final = 5.0


#: Largest request line and header, as Go's server has it: filters and credentials may be long.
MAX_HEAD_BYTES: Final = 1024 * 1024

#: How many clients may wait to be accepted, as Go has it: one more is refused, and Docker's client does not try again.
BACKLOG: Final = 4096

#: Most headers of a request.
MAX_HEADERS: Final = 1024

#: Status of an answer that nobody reads.
CLIENT_GONE: Final = 499


class ApiServer:
    """The HTTP front of one engine."""

    def __init__(self, engine: "Engine", routes: Sequence[Route]) -> None:
        self._engine = engine
        self._router = Router(routes)
        self._server = FrontServer(
            self._serve, answering=self._small, handler_cancellation=True, access_log=None, keepalive_timeout=3600,
            max_line_size=MAX_HEAD_BYTES, max_field_size=MAX_HEAD_BYTES, max_headers=MAX_HEADERS,
            auto_decompress=False,  # Go's server takes a body as it comes
        )  # fmt: skip
        self._runner = web.ServerRunner(self._server, shutdown_timeout=SHUTDOWN_S)

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to serve on listening sockets."""
        await self._runner.setup()
        for sock in sockets:
            await web.SockSite(self._runner, sock, backlog=BACKLOG).start()

    async def stop(self) -> None:
        """Stop accepting, let requests end for a while, cancel the rest."""
        await self._runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        operation.set(new_id()[:8])
        began = time.monotonic()
        try:
            if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # the answer proper has not begun
            response = await self._dispatch(request)
        except asyncio.CancelledError:
            log.debug("%s %s: client went away", request.method, request.path_qs)
            raise
        except Exception as exc:  # noqa: BLE001  the outermost border: every error becomes an answer
            if isinstance(exc, ConnectionError) and _is_gone(request):
                log.debug("%s %s: client went away", request.method, request.path_qs)
                response = web.Response(status=CLIENT_GONE)
            else:
                response = self._failure(request, exc)
        if not response.prepared:
            response.headers.update(HEADERS)
        log.debug(
            "%s %s %d in %.1f ms", request.method, request.path_qs, response.status, (time.monotonic() - began) * 1e3
        )
        return response

    def _small(self, request: SmallRequest) -> Coroutine[Any, Any, web.Response] | None:
        """Return the answering of a small request; None where there is a stream to hold, or an error to say."""
        try:
            version, path = versions.split(request.path)
            route, parameters = self._router.find(request.method, path)
        except EngineError:
            return None
        if route.stream:
            return None
        return self._answered(request, route, Call.small(request, self._engine, version, parameters))

    async def _answered(self, request: SmallRequest, route: Route, call: Call) -> web.Response:
        operation.set(new_id()[:8])
        began = time.monotonic()
        try:
            response = await route.handler(call)
        except Exception as exc:  # noqa: BLE001  the outermost border: every error becomes an answer
            response = self._failure(request, exc)
        log.debug(
            "%s %s %d in %.1f ms", request.method, request.path_qs, response.status, (time.monotonic() - began) * 1e3
        )
        assert isinstance(response, web.Response)  # what streams is no small request
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "OPTIONS":  # to any path, as Docker does
            return web.Response()
        version, path = versions.split(request.path)
        route, parameters = self._router.find(request.method, path)
        call = Call(request, self._engine, version, parameters)
        if route.stream:
            return await route.handler(call)
        return await finish(_awaited(route, call))

    def _failure(self, request: web.BaseRequest | SmallRequest, exc: Exception) -> web.Response:
        status, body = to_response(exc)
        if status >= 500 and not isinstance(exc, EngineError):
            log.error("%s %s failed", request.method, request.path_qs, exc_info=exc)
        else:
            log.info("%s %s: %d %s", request.method, request.path_qs, status, body["message"])
        if status == 304:
            return web.Response(status=304)
        return web.Response(status=status, body=msgspec.json.encode(body) + b"\n", content_type="application/json")


def _is_gone(request: web.BaseRequest) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _awaited(route: Route, call: Call) -> web.StreamResponse:
    return await route.handler(call)
