"""Steps about links that others made and that a container is lent. Data only."""

from berth.plan.model import Step


class MoveLinkIn(Step, frozen=True):
    """Move the host's link `source` into a pinned namespace, as `inside`, up, with addresses (CIDR texts) and routes.

    An empty `mac` leaves it as it is. `gateways` become the default routes; `routes` are prefixes with a gateway each,
    which is empty for what is reached by the link itself.
    """

    source: str
    namespace: str
    inside: str
    mac: str = ""
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()


class MoveLinkOut(Step, frozen=True):
    """Give it back to the host under its old name, down; nothing happens if it is not there."""

    namespace: str
    inside: str
    source: str
