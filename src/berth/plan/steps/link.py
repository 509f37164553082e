"""Steps about links: bridges, container links, their addresses. Data only."""

from berth.plan.model import Step


class MakeBridge(Step, frozen=True):
    """Make a bridge with its addresses (CIDR texts) and bring it up; `alias` marks it as ours."""

    name: str
    mac: str
    mtu: int
    alias: str
    addresses: tuple[str, ...] = ()
    ipv6: bool = False


class AddressBridge(Step, frozen=True):
    """Put addresses, which it has not, on a bridge that was there before us and bring it up."""

    name: str
    addresses: tuple[str, ...]


class UnaddressBridge(Step, frozen=True):
    """Take addresses from a bridge that stays; nothing happens for those that are not there."""

    name: str
    addresses: tuple[str, ...]


class LeadLoopback(Step, frozen=True):
    """Have a link lead packets for loopback addresses, or not: before, after. What is gone leads none."""

    name: str
    leads: tuple[bool, bool]


class RetireBridge(Step, frozen=True):
    """Take a bridge out of use at once, its addresses and all, for a deletion later; never taken back."""

    name: str
    addresses: tuple[str, ...]


class MakeContainerLink(Step, frozen=True):
    """Make a pair: `name` as a port of `bridge` here, `inside` in the pinned namespace, both up, with addresses.

    `gateways` become the default routes, empty for none. `segment` is the largest TCP segment, in bytes, that the
    bridge's links carry whole, if this is its first: 0 for what the host's way out takes. Later ones have what it has.
    """

    name: str
    bridge: str
    namespace: str
    inside: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    isolated: bool = False
    hairpin: bool = False
    segment: int = 0


class DeleteLink(Step, frozen=True):
    """Delete a link; nothing happens if it is not there."""

    name: str
