"""Keeps our rules in other tools' chains equal to our bridges. Blocking. Must not: decide which (`foreign` does)."""

import logging
from collections.abc import Collection

from berth.kernel import nft
from berth.networks.firewall import foreign
from berth.networks.firewall.foreign import USER_CHAIN, Chain

log = logging.getLogger(__name__)


class Passage:
    """Our traffic's way through foreign forward chains."""

    def __init__(self, mark: str) -> None:
        """`mark` begins the comment of each of our rules."""
        self._mark = mark
        self._told: set[Chain] = set()
        #: Whether the last look found a chain to pass through: only then a new bridge needs one at once.
        self.is_needed = False

    def keep(self, bridges: Collection[str], internal: Collection[str] = ()) -> None:
        """Let these bridges' traffic through, inside the internal ones too, and no others' that were ours."""
        chains = _chains()
        for chain in foreign.unhelped(chains):
            if chain not in self._told:
                self._told.add(chain)
                log.warning(
                    "chain %s of table %s %s drops forwarded packets that nothing there accepts: containers may reach "
                    "nothing outside until it lets the bridges through",
                    chain.name, chain.table, chain.family,
                )  # fmt: skip
        self.is_needed = foreign.has_user_chain(chains)
        if self.is_needed:
            self._equal(foreign.wanted(bridges, internal) if foreign.droppers(chains) else [])

    def _equal(self, rules: list[str]) -> None:
        present = [
            (int(rule["handle"]), str(rule["comment"]))
            for row in nft.listed("chain " + " ".join(USER_CHAIN))
            if (rule := row.get("rule")) and str(rule.get("comment", "")).startswith(self._mark + ": ")
        ]
        if [said for _, said in present] != [foreign.comment(self._mark, rule) for rule in rules]:
            nft.host().run(foreign.replace(self._mark, [handle for handle, _ in present], rules))


def _chains() -> list[Chain]:
    return [
        Chain(one["family"], one["table"], one["name"], one.get("hook", ""), one.get("policy", ""))
        for row in nft.listed("chains")
        if (one := row.get("chain"))
    ]
