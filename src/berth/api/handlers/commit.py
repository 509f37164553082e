"""Images of containers over HTTP."""

from typing import Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.containers.committing import Wish
from berth.wire.containers import ContainerConfig, decode


async def commit(call: Call) -> web.StreamResponse:
    """``POST /commit``: make an image of what a container has changed."""
    raw = (await call.json_body()).strip()
    wish = Wish(
        repository=call.text("repo"),
        tag=call.text("tag"),
        author=call.text("author"),
        comment=call.text("comment"),
        changes=[line for change in call.texts("changes") for line in change.splitlines()],
        pause=call.flag("pause", default=True),
        config=decode(raw, ContainerConfig) if raw not in (b"", b"null") else None,
    )
    return call.json({"Id": await call.engine.commits.commit(call.text("container"), wish)}, status=201)


ROUTES: Final[tuple[Route, ...]] = (Route("POST", "/commit", commit),)
