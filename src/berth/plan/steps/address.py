"""The steps about further addresses of a link. Data only."""

from berth.plan.model import Step


class AddAddresses(Step, frozen=True):
    """Put further addresses (CIDR texts) on a link of a pinned namespace; IPv6 is switched on there if one needs it."""

    namespace: str
    link: str
    addresses: tuple[str, ...]


class SwapAddress(Step, frozen=True):
    """Give a link of a pinned namespace one IPv4 address (CIDR text) in place of another.

    `gateways` are those of the default route through the link, before and after; empty texts for none.
    """

    namespace: str
    link: str
    before: str
    after: str
    gateways: tuple[str, str] = ("", "")


class DropAddresses(Step, frozen=True):
    """Take them away; nothing happens if they are not there."""

    namespace: str
    link: str
    addresses: tuple[str, ...]
