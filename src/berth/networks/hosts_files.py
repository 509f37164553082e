"""The text of a container's hosts, resolv.conf and hostname files. Pure; must not read or write any."""

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import Final, NamedTuple

from berth.networks.dns.model import ADDRESS, Upstream

#: What Docker falls back to when the host's servers are out of a container's reach.
FALLBACK_SERVERS: Final = ("8.8.8.8", "8.8.4.4")
#: What ``--add-host name:host-gateway`` stands for an address with.
HOST_GATEWAY: Final = "host-gateway"
#: systemd-resolved's stub; the servers it asks are listed in its own file.
STUB: Final = "127.0.0.53"

_LOCAL: Final = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""


class ResolvConf(NamedTuple):
    """A resolv.conf, parsed."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> ResolvConf:
    """Read a resolv.conf; of several search lines the last counts (resolv.conf(5))."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(words[1:])
        elif words[0] == "options":
            options += words[1:]
    return ResolvConf(tuple(servers), search, tuple(options))


def is_loopback(server: str) -> bool:
    """Tell whether a server is reached by the host itself only; what is no address is not."""
    try:
        return ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_of_a_link(server: str) -> bool:
    """Tell whether an address means something on one link of the host's only (``fe80::1%eth0``)."""
    return "%" in server


def asked(host: ResolvConf, servers: Sequence[str], search: Sequence[str], options: Sequence[str]) -> ResolvConf:
    """Return the host's settings with what a container was given instead; search ``.`` clears."""
    return ResolvConf(
        tuple(servers) or host.servers,
        tuple(word for word in search if word != ".") if search else host.search,
        tuple(options) or host.options,
    )


def for_default_bridge(want: ResolvConf, *, ipv6: bool, explicit: bool = False) -> ResolvConf:
    """Return what a container on the default bridge gets: no server that it cannot reach, with or without `ipv6`.

    `explicit` servers are meant as the container sees them.
    """
    servers = want.servers if explicit else tuple(one for one in want.servers if _may_be_reached(one, ipv6=ipv6))
    return want._replace(servers=servers or FALLBACK_SERVERS)


def _may_be_reached(server: str, *, ipv6: bool) -> bool:
    return not is_loopback(server) and not _is_of_a_link(server) and (ipv6 or ":" not in server)


def for_user_network(want: ResolvConf) -> ResolvConf:
    """Return what a container on a user network gets: our name server, and dotless names not asked for whole."""
    has_ndots = any(option.startswith("ndots:") for option in want.options)
    options = want.options if has_ndots else (*want.options, "ndots:0")
    return want._replace(servers=(ADDRESS,), options=options)


def upstreams(want: ResolvConf, *, explicit: bool, ipv6: bool) -> tuple[Upstream, ...]:
    """Return whom our name server asks for others; those the container cannot reach itself are asked from the host.

    `explicit` servers are meant as the container sees them; `ipv6` tells whether it has a way out by IPv6.
    """
    servers = want.servers or FALLBACK_SERVERS
    return tuple(Upstream(one, from_host=not explicit and not _may_be_reached(one, ipv6=ipv6)) for one in servers)


def render_resolv_conf(conf: ResolvConf) -> str:
    """Print a resolv.conf."""
    lines = [f"nameserver {server}" for server in conf.servers]
    if conf.search:
        lines.append("search " + " ".join(conf.search))
    if conf.options:
        lines.append("options " + " ".join(conf.options))
    return "".join(f"{line}\n" for line in lines)


def parse_extra_host(text: str) -> tuple[str, str]:
    """Split ``name:address`` or ``name=address``. Raises `ValueError`."""
    cut = "=" if "=" in text else ":"
    name, found, address = text.partition(cut)
    address = address.removeprefix("[").removesuffix("]")
    if not found or not name:
        raise ValueError(f'bad format for add-host: "{text}"')
    if address != HOST_GATEWAY:
        try:
            ip_address(address)
        except ValueError:
            raise ValueError(f"invalid IP address in add-host: {address!r}") from None
    return name, address


def extra_hosts(texts: Iterable[str], gateways: Sequence[str]) -> list[tuple[str, str]]:
    """Return address and name of every ``--add-host``; ``host-gateway`` stands for each of the host's addresses."""
    found = []
    for text in texts:
        name, address = parse_extra_host(text)
        found += [(one, name) for one in (gateways if address == HOST_GATEWAY else (address,))]
    return found


def render_hosts(extra: Iterable[tuple[str, str]], own: Iterable[str], hostname: str, domainname: str) -> str:
    """Print a hosts file: loopback, extra (address, names) pairs, then the container under each of its addresses."""
    return _LOCAL + "".join(f"{address}\t{names}\n" for address, names in extra) + render_own(own, hostname, domainname)


def render_own(own: Iterable[str], hostname: str, domainname: str) -> str:
    """Print a container's own lines of its hosts file."""
    names = hostname
    if domainname:
        names = f"{hostname}.{domainname} {hostname}"
    elif "." in hostname:
        names = f"{hostname} {hostname.partition('.')[0]}"
    return "".join(f"{address}\t{names}\n" for address in own)


def render_hostname(hostname: str) -> str:
    """Print a hostname file."""
    return hostname + "\n"
