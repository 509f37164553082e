"""Who may use a published port: labels of the container → subnets by container port. Pure.

``berth.publish.from.80/tcp=10.0.0.0/8,192.0.2.7``: Docker's API has no field for it, and carries labels everywhere.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Final

from berth.networks.ports.choose import parse_port
from berth.networks.ports.errors import BadPort

PREFIX: Final = "berth.publish.from."


def parse(labels: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return ``80/tcp`` → subnets in canonical form, of either IP version. Raises `BadPort`."""
    return {
        "{}/{}".format(*parse_port(key.removeprefix(PREFIX))): _subnets(key, text)
        for key, text in sorted(labels.items())
        if key.startswith(PREFIX)
    }


def _subnets(key: str, text: str) -> tuple[str, ...]:
    words = [word for word in re.split(r"[,\s]+", text) if word]
    if not words:
        raise BadPort(f"label {key} names nobody: leave it out to let everybody in")
    try:
        return tuple(sorted({str(ip_network(word)) for word in words}))
    except ValueError as exc:
        raise BadPort(f"label {key}: {exc}") from None
