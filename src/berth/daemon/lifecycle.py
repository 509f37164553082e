"""The order of starting and stopping.

Start: roots → records → undo what a killed engine left half done → name server → networks → containers
→ volumes and images tidy up → listen. Stop: stop accepting → finish or cancel requests → stop services →
close records. Containers, their monitors and the name server stay.
"""

import asyncio
import logging
import time

from berth.api.server import ApiServer
from berth.base.config import Config
from berth.daemon import wiring
from berth.daemon.sockets import listen

log = logging.getLogger(__name__)


async def serve(config: Config, told: asyncio.Event) -> None:
    """Run an engine until `told` to stop."""
    began = time.monotonic()
    sockets = listen(config.listen, config.group)
    parts = await wiring.build(config)
    engine = parts.engine
    try:
        await asyncio.to_thread(parts.runner.recover)
        await parts.start_name_server()
        await engine.containers.adopt()
        await engine.volumes.adopt()
        await engine.images.adopt()
        server = ApiServer(engine, wiring.routes())
        await server.start(sockets)
        log.info("serving on %s after %.0f ms", ", ".join(config.listen), (time.monotonic() - began) * 1e3)
        await told.wait()
        log.info("stopping; containers stay")
        await server.stop()
    finally:
        await parts.close()
