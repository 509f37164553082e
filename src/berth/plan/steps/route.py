"""The step about routes. Data only."""

from berth.plan.model import Step


class SetDefaultRoute(Step, frozen=True):
    """Make the default route of a pinned namespace lead through a gateway on a link, or nowhere.

    `before` is the gateway and link it led through, for the way back; empty texts mean no route.
    """

    namespace: str
    gateway: str
    link: str
    before: tuple[str, str] = ("", "")
