"""Driver options of one attachment: text → typed, checked values. Pure.

``com.docker.network.endpoint.…`` are Docker's; the others are ours. Unknown ones are kept and ignored, as in Docker.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from berth.base.units import BadDuration, parse_duration_ns
from berth.networks.errors import BadOption
from berth.networks.model import MAX_LINK_NAME, NO_LIMITS, Shape
from berth.networks.options import BOOLEANS, ENDPOINT_LINK, is_link_name

SYSCTLS: Final = "com.docker.network.endpoint.sysctls"
#: Attach without ever leading the default route through this network.
NO_DEFAULT_ROUTE: Final = "no-default-route"
#: Limits; in is what the container receives, out what it sends. Delay and loss are of what it sends.
RATE_IN: Final = "rate-in"
RATE_OUT: Final = "rate-out"
DELAY: Final = "delay"
LOSS: Final = "loss"
LIMITS: Final = (RATE_IN, RATE_OUT, DELAY, LOSS)

#: Stands for the link's name, which nobody knows before the container starts. Docker's client of version 28 turns what
#: its long form holds into small letters, so these will do.
PLACEHOLDER: Final = "IFNAME"
_SYSCTL: Final = re.compile(
    r"net\.(?P<family>ipv4|ipv6|mpls)\.(?P<group>[a-z0-9_]+)\.(?i:IFNAME)\.(?P<name>[a-z0-9_]+)=(?P<value>[^\s=]+)\Z"
)

_RATE: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[a-z]*)\Z")
#: tc's units (tc(8)): ``bit`` families count bits a second, ``bps`` families bytes. As bytes a second.
_RATES: Final = {
    "": 1 / 8, "bit": 1 / 8, "kbit": 1e3 / 8, "mbit": 1e6 / 8, "gbit": 1e9 / 8, "tbit": 1e12 / 8,
    "bps": 1.0, "kbps": 1e3, "mbps": 1e6, "gbps": 1e9, "tbps": 1e12,
}  # fmt: skip
#: Least and most that makes sense, bytes a second: 8 kbit/s and 1 Tbit/s.
_LEAST_RATE: Final = 1_000
_MOST_RATE: Final = 125_000_000_000
#: Longest delay, microseconds: a minute.
_MOST_DELAY_US: Final = 60_000_000


class BadEndpointSysctl(BadOption):
    """A setting of an attachment that is none of a link's."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"unrecognised network interface sysctl '{text}'; write 'net.X.Y.IFNAME.Z=V' for 'net.X.Y.ethN.Z=V', "
            "where 'X' is 'ipv4', 'ipv6' or 'mpls'"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions:
    """Options of one attachment, with defaults."""

    #: Name of the link inside, empty for the next free one.
    link: str = ""
    #: Path below /proc/sys with `PLACEHOLDER` in it, and value.
    sysctls: tuple[tuple[str, str], ...] = ()
    no_default_route: bool = False
    shape: Shape = NO_LIMITS


def parse_endpoint(options: Mapping[str, str] | None) -> EndpointOptions:
    """Read an attachment's driver options. Raises `BadOption`."""
    options = options or {}
    return EndpointOptions(
        link=_link(options.get(ENDPOINT_LINK, "")),
        sysctls=parse_sysctls(options.get(SYSCTLS, "")),
        no_default_route=_boolean(options, NO_DEFAULT_ROUTE),
        shape=parse_shape(options),
    )


def parse_shape(options: Mapping[str, str]) -> Shape:
    """Read the limits among driver options; an empty text is no limit. Raises `BadOption`."""
    return Shape(
        rate_in=parse_rate(RATE_IN, options.get(RATE_IN, "")),
        rate_out=parse_rate(RATE_OUT, options.get(RATE_OUT, "")),
        delay_us=_delay(options.get(DELAY, "")),
        loss_ppm=_loss(options.get(LOSS, "")),
    )


def _boolean(options: Mapping[str, str], key: str) -> bool:
    text = options.get(key, "false")
    if text not in BOOLEANS:
        raise BadOption(f"invalid value for {key}: {text!r}: give true or false")
    return BOOLEANS[text]


def _link(name: str) -> str:
    if not is_link_name(name):
        raise BadOption(
            f"invalid value for {ENDPOINT_LINK}: {name!r} cannot be an interface's name: 1 to {MAX_LINK_NAME} bytes, "
            "no space, slash, colon, percent sign or quotation mark"
        )
    return name


def parse_sysctls(text: str) -> tuple[tuple[str, str], ...]:
    """Read a comma list of link settings into paths and values; says all that is wrong. Raises `BadOption`."""
    found, wrong = [], []
    for part in text.split(",") if text else ():
        match = _SYSCTL.match(part.strip())
        if match is None:
            wrong.append(str(BadEndpointSysctl(part)))
        else:
            key = f"net/{match['family']}/{match['group']}/{PLACEHOLDER}/{match['name']}"
            found.append((key, match["value"]))
    if wrong:
        raise BadOption("\n".join(wrong))
    return tuple(found)


def parse_rate(key: str, text: str) -> int:
    """Read ``10mbit``, ``500kbps``; a bare number counts bits, as with tc. Return bytes a second, 0 for no text."""
    if not text:
        return 0
    match = _RATE.match(text.strip().lower())
    scale = _RATES.get(match["unit"]) if match else None
    if match is None or scale is None:
        raise BadOption(f"invalid value for {key}: {text!r}: give a rate such as 10mbit, 500kbit or 2mbps (bytes)")
    rate = round(float(match["number"]) * scale)
    if not _LEAST_RATE <= rate <= _MOST_RATE:
        raise BadOption(f"invalid value for {key}: {text!r} is not between 8kbit and 1tbit")
    return rate


def _delay(text: str) -> int:
    if not text:
        return 0
    try:
        delay = parse_duration_ns(text.strip()) // 1000
    except BadDuration:
        delay = -1
    if not 0 <= delay <= _MOST_DELAY_US:
        raise BadOption(f"invalid value for {DELAY}: {text!r}: give a time of at most a minute, such as 50ms")
    return delay


def _loss(text: str) -> int:
    if not text:
        return 0
    try:
        share = float(text.strip().removesuffix("%"))
    except ValueError:
        share = -1.0
    if not 0 <= share <= 100:
        raise BadOption(f"invalid value for {LOSS}: {text!r}: give a percentage, such as 1%")
    return round(share * 10_000)
