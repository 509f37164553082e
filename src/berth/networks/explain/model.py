"""What a trace knows: the two ends, what was seen on the way, and what is made of it. Frozen records; pure."""

from enum import Enum

import msgspec


class Joined(msgspec.Struct, frozen=True):
    """One end on one network, from the records."""

    network: str
    network_id: str
    #: Name of the link in the namespace, and of the other half on the host.
    link: str = ""
    host_link: str = ""
    addresses: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    gateway: str = ""
    bridge: str = ""
    internal: bool = False
    icc: bool = True
    #: What may leave is only what these entries allow; None = everything may.
    allowed_out: tuple[str, ...] | None = None
    #: Containers are found by name here: not so on the default bridge.
    has_names: bool = True
    #: The default route should lead through here.
    is_way_out: bool = False


class Link(msgspec.Struct, frozen=True):
    """A link as it is in the namespace."""

    name: str
    is_up: bool = True
    passes: bool = True
    mtu: int = 1500
    addresses: tuple[str, ...] = ()


class Listener(msgspec.Struct, frozen=True):
    """Where something waits."""

    protocol: str
    address: str
    port: int


class Way(msgspec.Struct, frozen=True):
    """The way packets take; `error` if there is none. `because` is the route that decides it."""

    link: str = ""
    gateway: str = ""
    error: str = ""
    because: str = ""


class End(msgspec.Struct, frozen=True):
    """One end of the path: a container, the host or something outside."""

    kind: str
    name: str = ""
    state: str = "running"
    #: ``HostConfig.NetworkMode`` as far as it matters: host, none or a network.
    mode: str = ""
    namespace: str = ""
    networks: tuple[Joined, ...] = ()
    links: tuple[Link, ...] = ()
    listeners: tuple[Listener, ...] = ()


class Publication(msgspec.Struct, frozen=True):
    """A container's port on the host; not `live` while the container does not run."""

    container: str
    state: str
    protocol: str
    host_ip: str
    host_port: int
    container_port: int
    live: bool = True


class Named(msgspec.Struct, frozen=True):
    """What became of the name that was asked for, by the source's own resolver."""

    asked: str
    #: ``hosts``, ``answered``, ``unknown``, ``failed``, ``silent`` or ``records`` (nobody was asked).
    outcome: str
    addresses: tuple[str, ...] = ()
    server: str = ""
    #: Container and networks that have the name where the source is not.
    elsewhere: tuple[tuple[str, str], ...] = ()
    #: Names that look like it, on networks of the source first.
    near: tuple[str, ...] = ()
    #: Servers outside that are asked for unknown names, and whether each answers.
    upstreams: tuple[tuple[str, bool], ...] = ()


class Drop(msgspec.Struct, frozen=True):
    """A rule, or a chain's policy (handle 0), that dropped the probe or its answer."""

    #: ``source``, ``host`` or ``target``.
    place: str
    family: str
    table: str
    chain: str
    handle: int
    text: str
    is_answer: bool = False
    is_ours: bool = False


class Sent(msgspec.Struct, frozen=True):
    """What came of the probe. `reached`: how far its packets came, oldest first, e.g. ``host:left``."""

    result: str
    reason: str = ""
    ms: float = 0.0
    drops: tuple[Drop, ...] = ()
    reached: tuple[str, ...] = ()
    rules_met: int = 0
    #: Addresses on the way that nobody answered for on their link.
    missing: tuple[str, ...] = ()


class Sizes(msgspec.Struct, frozen=True):
    """Sizes of packets that came through, in bytes."""

    tried: tuple[int, ...] = ()
    passed: tuple[int, ...] = ()
    #: Somebody on the way said which size fits.
    told: bool = False


class Facts(msgspec.Struct, frozen=True):
    """Everything the judge may look at."""

    source: End
    target: End
    #: What the user wrote for the target, without the port.
    asked: str
    protocol: str
    port: int = 0
    address: str = ""
    name: Named | None = None
    way: Way | None = None
    #: The port of a container that a host address and port lead to.
    published: Publication | None = None
    #: Publications of the same port, or container, that do not fit what was asked.
    other_publications: tuple[Publication, ...] = ()
    forwarding: bool = True
    sent: Sent | None = None
    sizes: Sizes | None = None


class Mark(Enum):
    """How a step ended."""

    OK = "ok"
    FAIL = "fail"
    NOTE = "note"


class Step(msgspec.Struct, frozen=True):
    """One step of the path: what was looked at and what was found."""

    name: str
    mark: Mark
    text: str


class Verdict(msgspec.Struct, frozen=True):
    """The outcome: `fault` is empty if the target is reached."""

    reached: bool
    steps: tuple[Step, ...]
    fault: str = ""
    cause: str = ""
    mend: tuple[str, ...] = ()
