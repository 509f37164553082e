"""The one table of routes: method and path → handler; matching costs one regex per method and segment count."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, NamedTuple

from aiohttp import web

from berth.api.call import Call
from berth.base.errors import NotFound

Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One entry: ``{name}`` in `path` matches a segment, ``{name:.*}`` several (image names).

    A `stream` handler is cancelled when its client goes away; any other runs to its end.
    """

    method: str
    path: str
    handler: Handler
    stream: bool = False


class NoSuchPage(NotFound):
    """The path belongs to no route."""

    def __init__(self) -> None:
        super().__init__("page not found")


_PARAMETER: Final = re.compile(r"\{(\w+)(:\.\*)?\}")


def _pattern(path: str) -> str:
    body, at = "", 0
    for match in _PARAMETER.finditer(path):
        body += re.escape(path[at : match.start()])
        body += f"(?P<{match[1]}>{'.+?' if match[2] else '[^/]+'})"
        at = match.end()
    return body + re.escape(path[at:]) + r"\Z"


class Router:
    """Finds the route of a request; exact paths by dictionary, others in the order of the table."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._by_prefix: dict[tuple[str, str], list[tuple[re.Pattern[str], Route]]] = {}
        for route in routes:
            methods = ("GET", "HEAD") if route.method == "GET" and "archive" not in route.path else (route.method,)
            for method in methods:
                self._add(method, route)

    def _add(self, method: str, route: Route) -> None:
        if "{" not in route.path:
            self._exact.setdefault((method, route.path), route)
            return
        first = route.path.split("/", 2)[1]
        self._by_prefix.setdefault((method, first), []).append((re.compile(_pattern(route.path)), route))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the route and its path parameters. Raises `NoSuchPage`."""
        route = self._exact.get((method, path))
        if route is not None:
            return route, {}
        first = path.split("/", 2)[1] if path.startswith("/") else ""
        for pattern, candidate in self._by_prefix.get((method, first), ()):
            match = pattern.match(path)
            if match is not None:
                return candidate, match.groupdict()
        raise NoSuchPage
