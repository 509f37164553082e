"""Addresses of one network: nobody gets another's, nothing is lost, nothing leaks, in any order of events."""

import time
from ipaddress import ip_network

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from berth.networks.ipam.addresses import bounds, fixed
from berth.networks.ipam.book import AddressBook, Usage, number_of
from berth.networks.model import Pool

POOLS = (
    Pool("10.0.0.0/28", "10.0.0.1"),
    Pool("10.0.0.0/27", "10.0.0.16", "10.0.0.16/28", (("router", "10.0.0.20"), ("other", "10.0.0.5"))),
    Pool("10.0.0.0/29"),
    Pool("10.0.0.0/31"),
    Pool("fd00::/124", "fd00::1"),
)
names = st.sampled_from("abcdef")


def count(pool: Pool) -> tuple[set[int], set[int]]:
    """Return every number of a subnet, and those given unasked."""
    subnet = ip_network(pool.subnet)
    _, first, last = bounds(pool)
    every = set(range(int(subnet.network_address), int(subnet.broadcast_address) + 1))
    return every, set(range(first, last + 1)) - fixed(pool)


class Life(RuleBasedStateMachine):
    """Containers start, stop, ask, go; the daemon is started again; a plain model is compared after each event."""

    @initialize(pool=st.sampled_from(POOLS))
    def begin(self, pool: Pool) -> None:
        self.pool, self.book = pool, AddressBook()
        self.every, self.dynamic = count(pool)
        self.held: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.last: dict[str, int] = {}

    @property
    def used(self) -> set[int]:
        return {*self.held.values(), *self.asked.values()}

    @rule(name=names)
    def start(self, name: str) -> None:
        if name in self.held or name in self.asked:
            return
        free = self.dynamic - self.used
        found = self.book.choose(self.pool, name)
        wanted = self.last[name] if self.last.get(name) in free else min(free, default=None)
        assert (None if found is None else int(found)) == wanted
        if found is not None:
            self.book.hold(name, int(found))
            self.held[name] = int(found)

    @rule(name=names)
    def stop(self, name: str) -> None:
        if name in self.held:
            self.last[name] = self.held.pop(name)
            self.book.give_back(name, self.last[name])

    @rule(name=names, other=names)
    def give_back_what_is_not_ones_own(self, name: str, other: str) -> None:
        if name != other and other in self.held:
            self.book.give_back(name, self.held[other])

    @rule(name=names, data=st.data())
    def ask(self, name: str, data: st.DataObject) -> None:
        free = sorted(self.every - fixed(self.pool) - self.used)
        if name not in self.asked and free:
            self.asked[name] = data.draw(st.sampled_from(free))
            self.book.expect(name, self.asked[name])

    @rule(name=names)
    def ask_no_more(self, name: str) -> None:
        if name in self.asked:
            self.book.unexpect(name, self.asked.pop(name))

    @rule(name=names)
    def start_where_asked(self, name: str) -> None:
        if name in self.asked and name not in self.held and self.book.holder(self.asked[name]) is None:
            self.book.hold(name, self.asked[name])
            self.held[name] = self.asked[name]

    @rule(name=names)
    def go(self, name: str) -> None:
        self.stop(name)
        self.ask_no_more(name)
        self.book.forget(name)
        self.last.pop(name, None)

    @rule()
    def restart_of_the_daemon(self) -> None:
        self.book = AddressBook()
        for name, number in self.asked.items():
            self.book.expect(name, number)
        for name, number in self.held.items():
            self.book.hold(name, number)
        self.last.clear()

    @precondition(lambda self: len(self.held) > 1)
    @rule()
    def the_network_goes(self) -> None:
        self.book.clear()
        self.held.clear()
        self.last.clear()

    @invariant()
    def nobody_shares_and_all_are_known(self) -> None:
        assert len(set(self.held.values())) == len(self.held)
        for name, number in self.held.items():
            assert self.book.holder(number) == name
        for number in self.every - set(self.held.values()):
            assert self.book.holder(number) is None

    @invariant()
    def nothing_is_lost_or_leaks(self) -> None:
        _, first, last = bounds(self.pool)
        never = {number for number in self.every if not first <= number <= last} if not self.pool.ip_range else set()
        if self.pool.ip_range:
            never = {min(self.every), max(self.every)}
        in_use = self.used | fixed(self.pool) | never
        assert self.book.usage(self.pool) == Usage(len(in_use), len(self.dynamic - self.used))


Life.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase


def test_a_fresh_network_is_as_full_as_docker_says() -> None:
    assert AddressBook().usage(Pool("172.16.0.0/16", "172.16.0.1")) == Usage(3, 65_533)
    assert AddressBook().usage(Pool("10.0.0.0/24", "10.0.0.128", "10.0.0.128/25")) == Usage(3, 126)
    assert AddressBook().usage(Pool("2001:db8::/96", "2001:db8::1")) == Usage(2, (1 << 32) - 2)
    assert AddressBook().usage(Pool("fd00::/48", "fd00::1")) == Usage(2, (1 << 64) - 1)


def test_the_last_address_costs_what_the_first_did() -> None:
    pool, book = Pool("10.0.0.0/16", "10.0.0.1"), AddressBook()

    def thousand() -> float:
        began = time.perf_counter()
        for turn in range(1000):
            found = book.choose(pool, f"c{turn}")
            assert found is not None
            book.hold(f"c{turn}", int(found))
        return time.perf_counter() - began

    first = min(thousand() for _ in range(3))
    for number in range(number_of("10.0.12.0"), number_of("10.0.240.0")):
        book.hold("crowd", number)
    last = min(thousand() for _ in range(3))
    assert last < 20 * first, f"{first * 1e3:.1f} ms, then {last * 1e3:.1f} ms: a search from below takes thousands"
