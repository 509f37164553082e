"""The network ``none``, of driver ``null``: a namespace with the loopback link only. Pure."""

from typing import Final

from berth.networks.drivers.base import Traits
from berth.networks.drivers.linkless import Linkless


class Null(Linkless):
    """See `berth.networks.drivers.base.NetworkDriver`."""

    traits: Final = Traits(links=False, single=True)
