"""The order of starting and stopping.

Start: roots → records → undo what a killed engine left half done → name server → volumes that were moving, before a
container starts on one → networks → containers → volumes tidy up → what an operation on volumes held still goes on
→ images tidy up → listen. Stop: stop accepting → finish or cancel requests → stop services → close records.
Containers, their monitors and the name server stay.
"""

import asyncio
import logging
import time

from berth.api.server import ApiServer
from berth.base.config import Config
from berth.daemon import wiring
from berth.daemon.sockets import listen
from berth.kernel import cgroup

log = logging.getLogger(__name__)


async def serve(config: Config, told: asyncio.Event) -> None:
    """Run an engine until `told` to stop."""
    began = time.monotonic()
    sockets = listen(config.listen, config.group)
    parts = wiring.build(config)
    engine = parts.engine
    try:
        undone = await asyncio.to_thread(parts.runner.recover, engine.networks.is_recorded)
        if undone:
            log.warning("took back %d plans that an earlier engine left half done", undone)
        await asyncio.gather(parts.names.start(), parts.proxy.start())
        await engine.volumes.changing.adopt()
        await engine.copies.adopt(engine.tasks)
        await engine.containers.adopt()
        await engine.volumes.adopt({record.id for record in engine.containers.all() if record.running})
        await engine.backups.adopt()
        await engine.stillness.recover(engine.tasks)
        await engine.images.adopt()
        parts.start_services()
        server = ApiServer(engine, wiring.routes())
        await server.start(sockets)
        log.info("serving on %s after %.0f ms", ", ".join(config.listen), (time.monotonic() - began) * 1e3)
        await told.wait()
        await server.stop()
        await _leave(parts)
    finally:
        await parts.close()


async def _leave(parts: wiring.Parts) -> None:
    """End cleanly: containers that run keep all they need; with none, nothing of ours stays in the kernel."""
    engine = parts.engine
    running = [record for record in engine.containers.all() if record.running]
    await engine.networks.shut()
    await engine.images.close()
    if running:
        log.info("stopping; %d containers go on", len(running))
        return
    await asyncio.to_thread(engine.networks.dissolve)
    await asyncio.gather(parts.names.quit(), parts.proxy.quit())
    await asyncio.to_thread(cgroup.remove, engine.containers.host.groups, engine.layout.cgroup_parent)
    await asyncio.to_thread(cgroup.give_back, engine.layout.exec_root)
    log.info("stopping; nothing runs, nothing is left in the kernel")
