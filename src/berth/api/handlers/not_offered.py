"""Routes of Docker's for what this engine does not do: each says so, and what to do instead.

Outside a swarm Docker's own answers hold for swarm, services, nodes, tasks, secrets and configs.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import NotImplementedYet, Unavailable

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

NO_MANAGER: Final = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
NO_SWARM: Final = "swarms are not offered by this engine; each engine is on its own"
NO_BUILD: Final = (
    "building images is not offered by this engine; build them with buildah or docker buildx and load or pull them, "
    "make one of a container (docker commit), or from this machine's packages (berth image bootstrap)"
)
NO_PLUGINS: Final = (
    "plugins are not installed by this engine; run a plugin as a program that listens on a socket in "
    "/run/docker/plugins, and it is found"
)
NO_CHECKPOINTS: Final = "checkpoints are not offered by this engine"


def _refuse(error: type[NotImplementedYet | Unavailable], words: str) -> Handler:
    async def refuse(_call: Call) -> web.StreamResponse:
        raise error(words)

    return refuse


def _routes() -> tuple[Route, ...]:
    no_manager = _refuse(Unavailable, NO_MANAGER)
    found = [Route("GET", "/swarm", no_manager), Route("GET", "/swarm/unlockkey", no_manager)]
    found += [Route("POST", f"/swarm/{verb}", no_manager) for verb in ("update", "unlock")]
    found += [Route("POST", f"/swarm/{verb}", _refuse(NotImplementedYet, NO_SWARM)) for verb in ("init", "join")]
    found.append(Route("POST", "/swarm/leave", _refuse(Unavailable, "This node is not part of a swarm")))
    for noun in ("services", "nodes", "tasks", "secrets", "configs"):
        found.append(Route("GET", f"/{noun}", no_manager))
        found.append(Route("POST", f"/{noun}/create", no_manager))
        found += [Route(method, f"/{noun}/{{id}}", no_manager) for method in ("GET", "DELETE")]
    building = _refuse(NotImplementedYet, NO_BUILD)
    found += [Route("POST", path, building) for path in ("/build", "/session")]
    plugins = _refuse(NotImplementedYet, NO_PLUGINS)
    found += [Route("GET", "/plugins/privileges", plugins)]
    found += [Route("POST", f"/plugins/{verb}", plugins) for verb in ("pull", "create")]
    checkpoints = _refuse(NotImplementedYet, NO_CHECKPOINTS)
    found += [Route(method, "/containers/{id}/checkpoints", checkpoints) for method in ("GET", "POST")]
    return tuple(found)


ROUTES: Final = _routes()
