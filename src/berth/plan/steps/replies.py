"""The steps about which way answers leave a namespace that has several ways out. Data only."""

from berth.plan.model import Step


class RouteReplies(Step, frozen=True):
    """Have what leaves from one address (CIDR text) of a link leave by that link, through `gateway`.

    Whatever the default route is: a rule and a table of routes of its own. `namespace` is a pinned one.
    """

    namespace: str
    link: str
    address: str
    gateway: str


class ForgetReplies(Step, frozen=True):
    """Take that back; nothing happens if it is not so."""

    namespace: str
    link: str
    address: str
    gateway: str
