"""The step about packet filtering. Data only."""

from berth.plan.model import Step


class NftTransaction(Step, frozen=True):
    """Carry out nftables commands, all or none.

    `inverse` are the commands that take them back, empty for those that need not be; `namespace` is the file of a
    pinned network namespace, empty for the host's.
    """

    commands: str
    inverse: str = ""
    namespace: str = ""
