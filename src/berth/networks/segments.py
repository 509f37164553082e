"""The largest TCP segment that the links of a network carry whole: decided from what the network is. Pure.

TCP hands data down in segments far larger than a packet, and a link that takes them whole saves most of their way
through the host. A link that takes less than the sender's makes the kernel cut each into packets by itself, which costs
twice what was saved; and what a sender may send goes by its own link, not by where it sends to. So only where
nothing leaves by a link of the host is more than usual sent without asking that link (ADR 0020).
"""

from typing import Final

from berth.networks.model import NetworkRecord
from berth.networks.options import PLAIN_SEGMENT, BridgeOptions

#: Bytes where nobody says otherwise. Beyond it little is gained, and captures end at that (pcap-savefile(5)).
LARGE: Final = 262_144
#: As much as the host's way out takes, no less than usual.
AS_WAY_OUT: Final = 0


def segment_of(record: NetworkRecord, options: BridgeOptions) -> int:
    """Return the largest segment of a bridge network in bytes, or `AS_WAY_OUT`."""
    if record.adopted_bridge:  # its owner's to say: links have what the bridge has
        return PLAIN_SEGMENT
    return options.segment or (LARGE if record.internal else AS_WAY_OUT)
