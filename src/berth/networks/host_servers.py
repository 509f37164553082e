"""The host's own name servers, read anew whenever asked: they change while containers run. Blocking, but files only."""

from pathlib import Path
from typing import Final

from berth.networks.hosts_files import STUB, ResolvConf, parse_resolv_conf

HOST_RESOLV_CONF: Final = Path("/etc/resolv.conf")
#: Where systemd-resolved lists the servers behind its stub.
RESOLVED_CONF: Final = Path("/run/systemd/resolve/resolv.conf")


def host_resolv_conf() -> ResolvConf:
    """Return the host's settings; where they name only systemd-resolved's stub, what is behind it."""
    for path in (HOST_RESOLV_CONF, RESOLVED_CONF):
        try:
            conf = parse_resolv_conf(path.read_text(errors="replace"))
        except OSError:
            continue
        if set(conf.servers) != {STUB}:
            return conf
    return ResolvConf()
