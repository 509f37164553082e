"""The network that is the host's own namespace. Pure."""

from typing import Final

from berth.networks.drivers.base import Traits
from berth.networks.drivers.linkless import Linkless


class Host(Linkless):
    """See `berth.networks.drivers.base.NetworkDriver`."""

    traits: Final = Traits(links=False, on_host=True, single=True)
