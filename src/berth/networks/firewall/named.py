"""Addresses the name server lets a network reach because a name led there: closed when the name is allowed no more.

They would end by themselves, minutes later. Must not: open any; that is the name server's part.
"""

from collections.abc import Iterable
from typing import Any

from berth.kernel import nft
from berth.networks.firewall import ruleset


def close(table: str, link: str) -> None:
    """Close all that is open to a network by names (blocking); what still is allowed opens at the next question."""
    rows = {name: nft.listed(f"set inet {table} {name}") for name in ruleset.NAMED}
    commands = "".join(closing(table, name, link, found) for name, found in rows.items())
    if commands:
        nft.run_once(commands)


def closing(table: str, name: str, link: str, rows: Iterable[dict[str, Any]]) -> str:
    """Return the commands that take a link's elements out of a set, as it was listed. Pure."""
    values = [one["elem"]["val"]["concat"] for row in rows for one in row.get("set", {}).get("elem", ())]
    keys = [" . ".join((f'"{link}"', *map(str, value[1:]))) for value in values if value[0] == link]
    if not keys:
        return ""
    listed = ", ".join(keys)
    # added first: what has just ended by itself can be taken out too
    return f"add element inet {table} {name} {{ {listed} }}\ndelete element inet {table} {name} {{ {listed} }}\n"
