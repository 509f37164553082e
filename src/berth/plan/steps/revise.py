"""Steps that change a link which is in use: size, address, isolation. Data only."""

from berth.plan.model import Step


class ReviseLink(Step, frozen=True):
    """Change a link: pairs of what it had before and what it has after; `namespace` is a pinned one or the host's.

    Addresses are CIDR texts; an MTU of 0 and an empty MAC stay as they are. `segment` as for `MakeContainerLink`.
    """

    name: str
    namespace: str = ""
    addresses: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    mtu: tuple[int, int] = (0, 0)
    mac: tuple[str, str] = ("", "")
    segment: tuple[int, int] = (0, 0)


class SetPort(Step, frozen=True):
    """Isolate a bridge's port from its other ports, or not: before, after. `hairpin` stays as it is."""

    name: str
    isolated: tuple[bool, bool]
    hairpin: bool = False
