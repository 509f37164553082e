"""What every answer of the API carries, however it goes out. Must not: know requests or the engine."""

from typing import Final

from berth import VERSION
from berth.api import versions

#: Clients read the version and the operating system from them.
HEADERS: Final[dict[str, str]] = {
    "Api-Version": versions.text(versions.NEWEST),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Berth/{VERSION} (linux)",
}
