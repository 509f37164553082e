"""What may be wrong with a driver's links and modes; statuses and first sentences are Docker's."""

from collections.abc import Sequence

from berth.base.errors import InvalidArgument, SystemFault
from berth.networks.options import SEGMENT


class IsolatedNotInternal(SystemFault):
    """A bridge without an address of the host is for networks that nobody leaves; Docker answers 500."""

    def __init__(self) -> None:
        super().__init__("gateway mode 'isolated' can only be used for an internal network; add --internal")


class BridgeMissing(SystemFault):
    """The setting `bridge` names a link that is not there."""

    def __init__(self, bridge: str) -> None:
        super().__init__(
            f'Error creating default "bridge" network: bridge device with non default name {bridge} must be created '
            f"manually: ip link add {bridge} type bridge"
        )


class NotABridge(SystemFault):
    """The setting `bridge` names a link of another kind."""

    def __init__(self, bridge: str) -> None:
        super().__init__(f"existing interface {bridge} is not a bridge")


class SegmentOfAnother(InvalidArgument):
    """A bridge that was there before us has a limit of its own, which the links on it follow."""

    def __init__(self, bridge: str) -> None:
        super().__init__(
            f"option {SEGMENT} is for bridges of this engine's: {bridge} was there before, and containers on it follow "
            f"its own limit; leave the option out and set it by 'ip link set {bridge} gso_ipv4_max_size BYTES'"
        )


class ParentRefused(SystemFault):
    """A link of the host cannot carry a network's links."""


class ParentTaken(SystemFault):
    """Another network has a link of the host to itself."""


class ModeUnknown(SystemFault):
    """A driver has no such mode or flag."""

    def __init__(self, driver: str, what: str, value: str, default: str, known: Sequence[str]) -> None:
        standard = f"'{default}' mode" if what == "mode" else f"'{default}'"
        super().__init__(
            f"requested {driver} {what} '{value}' is not valid, {standard} is the {driver} driver default "
            f"(there are {', '.join(known)})"
        )


class MacFixed(SystemFault):
    """Links of that kind have their parent's MAC."""

    def __init__(self, driver: str) -> None:
        super().__init__(f"{driver} interfaces do not support custom mac address assignment")


class HostAccessRefused(InvalidArgument):
    """The host cannot have a link of its own into the network."""
