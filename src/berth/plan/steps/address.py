"""The steps about further addresses of a link. Data only."""

from berth.plan.model import Step


class AddAddresses(Step, frozen=True):
    """Put further addresses (CIDR texts) on a link of a pinned namespace; IPv6 is switched on there if one needs it."""

    namespace: str
    link: str
    addresses: tuple[str, ...]


class DropAddresses(Step, frozen=True):
    """Take them away; nothing happens if they are not there."""

    namespace: str
    link: str
    addresses: tuple[str, ...]
