"""Other tools' forward chains that drop what ours accepts: where they foresee rules of others, ours are put. Pure.

A packet must pass every forward chain of the machine. Docker, old iptables set-ups, ufw and firewalld set theirs to
drop; Docker leaves the chain DOCKER-USER to others. Must not: change a policy or a rule of anybody else.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

#: The chain that Docker promises not to touch, before its own rules.
USER_CHAIN: Final = ("ip", "filter", "DOCKER-USER")
#: Docker's own bridges: their isolation is Docker's to decide.
DOCKERS_LINKS: Final = ("docker*", "br-*")


class Chain(NamedTuple):
    """A chain as listed; hook and policy are empty for chains that are only jumped to."""

    family: str
    table: str
    name: str
    hook: str = ""
    policy: str = ""


def droppers(chains: Iterable[Chain]) -> list[Chain]:
    """Return the forward chains for IPv4 that drop what nothing else accepts."""
    return [one for one in chains if one.hook == "forward" and one.policy == "drop" and one.family in ("ip", "inet")]


def has_user_chain(chains: Iterable[Chain]) -> bool:
    """Tell whether Docker's chain for others is there."""
    return any((one.family, one.table, one.name) == USER_CHAIN for one in chains)


def unhelped(chains: Iterable[Chain]) -> list[Chain]:
    """Return the droppers that leave no place for rules of others."""
    found = list(chains)
    return [one for one in droppers(found) if not (has_user_chain(found) and (one.family, one.table) == USER_CHAIN[:2])]


def wanted(bridges: Iterable[str], internal: Iterable[str] = ()) -> list[str]:
    """Return the rules that let our bridges' traffic through, in order.

    What may enter our bridges is judged by our own table; what leaves them may not enter Docker's bridges. Inside an
    internal one only its own containers talk: that, too, passes forward chains where br_netfilter is loaded.
    """
    rules = [f'iifname "{bridge}" oifname "{bridge}" accept' for bridge in sorted(internal)]
    for bridge in sorted(bridges):
        rules.append(f'oifname "{bridge}" accept')
        rules += [f'iifname "{bridge}" oifname "{theirs}" return' for theirs in DOCKERS_LINKS]
        rules.append(f'iifname "{bridge}" accept')
    return rules


def comment(mark: str, rule: str) -> str:
    """Return the comment that tells a rule as ours, and which it is."""
    return f"{mark}: {rule}".replace('"', "")


def replace(mark: str, present: Sequence[int], rules: Sequence[str]) -> str:
    """Return the transaction that puts `rules` at the top in place of our present ones (by handle)."""
    where = " ".join(USER_CHAIN)
    drop = "".join(f"delete rule {where} handle {handle}\n" for handle in present)
    # each insertion goes before the others: the last rule first
    return drop + "".join(f'insert rule {where} {rule} comment "{comment(mark, rule)}"\n' for rule in reversed(rules))
