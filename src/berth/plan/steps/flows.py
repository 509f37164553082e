"""The step about what the kernel remembers of connections. Data only."""

from berth.plan.model import Step


class ForgetDatagrams(Step, frozen=True):
    """Forget UDP flows to ports of the host that now lead elsewhere; what is sent there next is led anew.

    `led` are host address (unspecified for all), host port and the address it leads to. Never taken back.
    """

    led: tuple[tuple[str, int, str], ...]
