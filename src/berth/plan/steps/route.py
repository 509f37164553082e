"""The steps about routes. Data only."""

from berth.plan.model import Step


class SetDefaultRoute(Step, frozen=True):
    """Make the default route of a pinned namespace lead through a gateway on a link, or nowhere.

    `before` is the gateway and link it led through, for the way back; empty texts mean no route.
    """

    namespace: str
    gateway: str
    link: str
    before: tuple[str, str] = ("", "")


class AddRoute(Step, frozen=True):
    """Lead a prefix (CIDR text) through a gateway on a link of a pinned namespace; nothing happens if it is so."""

    namespace: str
    link: str
    destination: str
    gateway: str


class ForgetRoute(Step, frozen=True):
    """Take that back; nothing happens if it is not so, or the link or the namespace is gone."""

    namespace: str
    link: str
    destination: str
    gateway: str
