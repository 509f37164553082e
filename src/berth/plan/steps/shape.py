"""The step about how much, and how late, a link passes on. Data only."""

from berth.plan.model import Step


class ShapeLink(Step, frozen=True):
    """Limit what leaves by a link; all zero for no limit. `namespace` is a pinned one, empty for the host's.

    `before` is the same four figures as they were, for the way back.
    """

    namespace: str
    link: str
    #: Bytes a second.
    rate: int = 0
    #: Microseconds that every packet waits.
    delay_us: int = 0
    #: Of a million packets, how many are lost.
    loss_ppm: int = 0
    before: tuple[int, int, int] = (0, 0, 0)
