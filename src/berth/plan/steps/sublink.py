"""Steps about links that share another: macvlan, ipvlan, VLANs, and what they sit on. Data only."""

from berth.plan.model import Step


class RequireKind(Step, frozen=True):
    """Do nothing, or fail because this kernel has no links of that kind."""

    kind: str


class MakeParent(Step, frozen=True):
    """Make a link for containers' links to sit on, and bring it up; `alias` marks it as ours.

    Kind ``vlan``: VLAN `number` of the link `below`. Kind ``bridge``: one without ports, that leads nowhere.
    """

    name: str
    kind: str
    alias: str
    below: str = ""
    number: int = 0


class UnmakeParent(Step, frozen=True):
    """Delete such a link, if it still carries a mark that starts with `alias`; nothing happens otherwise.

    `unnamed` is what it was called before it had its mark, empty if it has it for certain.
    """

    name: str
    alias: str
    unnamed: str = ""


class MakeSubLink(Step, frozen=True):
    """Make a link on `parent`, wholly in the pinned namespace, up, with addresses; `gateways` become default routes.

    An empty `mac` leaves it to the kernel. An unspecified gateway (0.0.0.0, ::) means: by the link itself.
    """

    kind: str
    parent: str
    namespace: str
    inside: str
    mode: str
    flag: str = ""
    mac: str = ""
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()


class DeleteInside(Step, frozen=True):
    """Delete a link in a pinned namespace; nothing happens if either is not there."""

    namespace: str
    name: str


class MakeShim(Step, frozen=True):
    """Make the host's own link on a network's parent, with addresses (CIDR texts) and routes to its containers."""

    name: str
    kind: str
    parent: str
    mode: str
    alias: str
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
