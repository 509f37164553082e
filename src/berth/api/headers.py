"""What every answer of the API carries, however it goes out. Must not: know requests or the engine."""

import functools
import time
from email.utils import formatdate
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


def date() -> str:
    """Return what the ``Date`` of an answer is now."""
    return _date(int(time.time()))  # noqa: TID251  a header's


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
