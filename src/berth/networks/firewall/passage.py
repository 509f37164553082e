"""Keeps our rule in other tools' chains where it is needed, and nowhere else. Blocking.

Must not: decide where (`foreign` does).
"""

import logging
from collections.abc import Sequence
from typing import Any

from berth.kernel import nft, xtables
from berth.networks.firewall import foreign
from berth.networks.firewall.foreign import Chain, Verdict
from berth.networks.firewall.ruleset import PASS_MARK

log = logging.getLogger(__name__)


class Passage:
    """Our traffic's way through foreign forward chains."""

    def __init__(self, mark: str, table: str) -> None:
        """`mark` begins the comment of our rules, `table` is ours."""
        self._mark, self._table = mark, table
        self._told: set[tuple[str, str]] = set()
        #: What the last look found.
        self.verdicts: list[Verdict] = []

    def keep(self, bridges: Sequence[str]) -> None:
        """Let what our table accepts through; with no bridges, take our rules away."""
        chains = look(self._table)
        self.verdicts = foreign.judge(chains, self._table, bridges) + self._legacy()
        for one in self.verdicts:
            if one.place is None and bridges and (one.chain.where, one.command) not in self._told:
                self._told.add((one.chain.where, one.command))
                log.warning(
                    "chain %s (%s) stops forwarded packets that nothing there accepts, and leaves no place for rules "
                    "of others: containers may reach nothing outside until you run: %s",
                    one.chain.where, one.chain.drops, one.command,
                )  # fmt: skip
        self._equal(chains, {one.place.where for one in self.verdicts if one.place} if bridges else set())

    def _equal(self, chains: Sequence[Chain], wanted: set[str]) -> None:
        commands = ""
        for place in foreign.places(chains):
            present = [rule for rule in rules_of(place) if str(rule.get("comment", "")).startswith(self._mark + ":")]
            right = [rule for rule in present if rule["comment"] == foreign.comment(self._mark)]
            keep = right[:1] if place.where in wanted else []
            commands += "".join(foreign.delete(place, int(rule["handle"])) for rule in present if rule not in keep)
            if place.where in wanted and not keep:
                commands += foreign.insert(place, self._mark)
        if commands:
            nft.host().run(commands)

    def _legacy(self) -> list[Verdict]:
        """Return what drops in tables of the old iptables, which nftables does not show."""
        return [
            Verdict(
                Chain(family, "filter", "FORWARD", "forward", "drop"),
                None,
                f"{program} -I FORWARD -m mark --mark {PASS_MARK:#x}/{PASS_MARK:#x} "
                f"-m comment --comment {self._mark} -j ACCEPT",
            )
            for family, program in (("ip", "iptables-legacy"), ("ip6", "ip6tables-legacy"))
            if xtables.forward_drops(family) and not xtables.forward_accepts_mark(family, PASS_MARK)
        ]


def rules_of(chain: Chain) -> list[dict[str, Any]]:
    """Return a chain's rules as listed."""
    return [row["rule"] for row in nft.listed(f"chain {chain.where}") if "rule" in row]


def look(own_table: str) -> list[Chain]:
    """Return every chain of the machine; those that forwarded packets pass with what they do at their end."""
    chains = [
        Chain(one["family"], one["table"], one["name"], one.get("hook", ""), one.get("policy", ""))
        for row in nft.listed("chains")
        if (one := row.get("chain"))
    ]
    passed = set(foreign.forwarding(chains, own_table))
    return [_with_rules(one) if one in passed else one for one in chains]


def _with_rules(chain: Chain) -> Chain:
    rules = rules_of(chain)
    return chain._replace(end=foreign.last_word(rules), jumps=foreign.jumps(rules))
