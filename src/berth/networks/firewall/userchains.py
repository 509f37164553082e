"""The table and chains for the owner's own rules: made once, never changed, never flushed. Blocking.

A table of its own, because ours is rebuilt whole. Its chains are base chains that packets pass before ours: what they
drop is dropped, what they accept goes on to our rules. Must not: touch a rule in them.
"""

from typing import Final

from berth.kernel import nft

#: Chain → its hook. Forwarded packets, already led to a container; and packets as they come in, before that.
CHAINS: Final = {
    "user-forward": "type filter hook forward priority filter - 10; policy accept;",
    "user-publish": "type filter hook prerouting priority dstnat - 10; policy accept;",
}


def table_of(own: str) -> str:
    """Return the name of the owner's table beside our table `own`."""
    return own.replace("berth", "berth-user", 1)


def missing(own: str) -> list[str]:
    """Return the chains that are not there."""
    table = table_of(own)
    there = {
        chain["name"]
        for row in nft.listed("chains inet")
        if (chain := row.get("chain")) and chain["family"] == "inet" and chain["table"] == table
    }
    return [name for name in CHAINS if name not in there]


def make(own: str) -> bool:
    """Make what is missing; tell whether anything was."""
    absent = missing(own)
    if absent:
        table = table_of(own)
        lines = [f"add table inet {table}"] + [f"add chain inet {table} {name} {{ {CHAINS[name]} }}" for name in absent]
        nft.host().run("".join(f"{line}\n" for line in lines))
    return bool(absent)


def remove(own: str) -> bool:
    """Remove the table if nobody has put anything into it; tell whether it is gone."""
    table = table_of(own)
    rows = nft.listed(f"table inet {table}")
    if any("rule" in row or "set" in row or "map" in row for row in rows):
        return False
    if rows:
        nft.host().run(f"delete table inet {table}\n")
    return True
