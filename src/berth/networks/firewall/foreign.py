"""Other tools' forward chains that drop what ours accepts: where they foresee rules of others, ours is put. Pure.

A packet must pass every forward chain of the machine. Docker, ufw, firewalld and old iptables set-ups end theirs with
"drop". What our rules accept carries a mark there (`ruleset.PASS_MARK`), so one rule in a place meant for rules of
others is enough, whatever the number of networks. Must not: change a policy or a rule of anybody else.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from berth.networks.firewall.ruleset import PASS_MARK

#: What iptables and ip6tables call their table, by family of the packets.
XTABLES: Final = {"ip": ("ip", "filter"), "ip6": ("ip6", "filter")}
#: Chains that a tool leaves to rules of others, first the one that comes first. `FORWARD` of iptables is common ground:
#: every tool that forwards puts rules of its own there (libvirt, CNI, LXD, Docker itself).
#: Each with the chain that FORWARD must jump to for it to be passed at all.
USER_CHAINS: Final = {
    "DOCKER-USER": "DOCKER-USER",
    "ufw-user-forward": "ufw-before-forward",
    "ufw6-user-forward": "ufw6-before-forward",
    "FORWARD": "",
}
#: firewalld's table; its zones and policies are the only place for others, and a command of its own fills them.
FIREWALLD: Final = ("inet", "firewalld")
#: The rule: accept what ours accepted.
RULE: Final = f"meta mark & {PASS_MARK:#x} == {PASS_MARK:#x} accept"
_ENDS: Final = ("drop", "reject")


class Chain(NamedTuple):
    """A chain as listed; hook and policy are empty for chains that are only jumped to."""

    family: str
    table: str
    name: str
    hook: str = ""
    policy: str = ""
    #: What its last rule does with everything that gets there: drop, reject or nothing.
    end: str = ""
    #: The chains that its rules jump to.
    jumps: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Its name in a command."""
        return f"{self.family} {self.table} {self.name}"

    @property
    def drops(self) -> str:
        """How it drops what nothing in it accepts; empty if it does not."""
        return "policy drop" if self.policy == "drop" else self.end


class Verdict(NamedTuple):
    """A forward chain of others that drops, and what there is to do about it."""

    chain: Chain
    #: Chain for rules of others in which ours is put; None if the tool leaves none.
    place: Chain | None
    #: What the machine's owner should run, where we may not.
    command: str = ""


def last_word(rules: Sequence[dict[str, Any]]) -> str:
    """Return ``drop`` or ``reject`` if the last of a chain's rules, as listed, does so with every packet."""
    if not rules:
        return ""
    statements = [key for one in rules[-1].get("expr", ()) for key in one]
    if any(key not in ("counter", "log", "limit", *_ENDS) for key in statements):
        return ""
    return next((key for key in statements if key in _ENDS and "limit" not in statements), "")


def jumps(rules: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the chains that rules, as listed, jump to."""
    statements = [statement for rule in rules for statement in rule.get("expr", ())]
    return tuple(one["jump"]["target"] for one in statements if "jump" in one)


def forwarding(chains: Iterable[Chain], own_table: str) -> list[Chain]:
    """Return the forward chains of others that IP packets pass."""
    return [
        one
        for one in chains
        if one.hook == "forward" and one.family in ("ip", "ip6", "inet") and one.table != own_table
    ]


def judge(chains: Iterable[Chain], own_table: str, bridges: Iterable[str] = ()) -> list[Verdict]:
    """Return every dropping forward chain of others, with the place for our rule or the command for the owner."""
    found = list(chains)
    return [_judge(one, found, bridges) for one in forwarding(found, own_table) if one.drops]


def _judge(chain: Chain, chains: Sequence[Chain], bridges: Iterable[str]) -> Verdict:
    if (chain.family, chain.table) in XTABLES.values():
        mates = {one.name: one for one in chains if (one.family, one.table) == (chain.family, chain.table)}
        reached = (name for name, through in USER_CHAINS.items() if not through or through in chain.jumps)
        place = next((mates[name] for name in reached if name in mates), None)
        if place is not None:
            return Verdict(chain, place)
    if (chain.family, chain.table) == FIREWALLD:
        links = "".join(f" --add-interface={bridge}" for bridge in sorted(bridges))
        return Verdict(chain, None, f"firewall-cmd --permanent --zone=trusted{links} && firewall-cmd --reload")
    return Verdict(chain, None, f"nft 'insert rule {chain.where} {RULE} comment \"berth\"'")


def places(chains: Iterable[Chain]) -> list[Chain]:
    """Return every chain in which a rule of ours may be."""
    return [one for one in chains if (one.family, one.table) in XTABLES.values() and one.name in USER_CHAINS]


def comment(mark: str) -> str:
    """Return the comment that tells the rule as ours."""
    return f"{mark}: accepted by its own table"


def insert(place: Chain, mark: str) -> str:
    """Return the command that puts our rule at the top of a chain."""
    return f'insert rule {place.where} {RULE} comment "{comment(mark)}"\n'


def delete(place: Chain, handle: int) -> str:
    """Return the command that takes it away."""
    return f"delete rule {place.where} handle {handle}\n"
