"""The wired engine as handlers see it: one attribute per noun. Must not: do anything."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from berth.base.aio import Tasks
from berth.base.clock import Clock
from berth.base.config import Config
from berth.base.paths import Layout
from berth.events.bus import Bus

if TYPE_CHECKING:
    from berth.containers.archive import Archives
    from berth.containers.attach import Attachments
    from berth.containers.committing import Commits
    from berth.containers.execs.service import Execs
    from berth.containers.logs.service import Logs
    from berth.containers.service import Containers
    from berth.containers.stats import Stats
    from berth.images.service import Images
    from berth.networks.service import Networks
    from berth.volumes.backup.automatic import Automatic
    from berth.volumes.backup.service import Backups
    from berth.volumes.consistency.still import Stillness
    from berth.volumes.copies.comparing import Comparing
    from berth.volumes.copies.service import Copies
    from berth.volumes.service import Volumes


@dataclass(frozen=True, kw_only=True)
class Engine:
    """Everything a handler may use."""

    layout: Layout
    config: Config
    clock: Clock
    events: Bus
    tasks: Tasks
    images: "Images"
    networks: "Networks"
    volumes: "Volumes"
    stillness: "Stillness"
    backups: "Backups"
    automatic: "Automatic"
    copies: "Copies"
    comparing: "Comparing"
    containers: "Containers"
    attachments: "Attachments"
    logs: "Logs"
    execs: "Execs"
    stats: "Stats"
    archives: "Archives"
    commits: "Commits"
