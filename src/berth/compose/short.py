"""The short forms of Compose: sizes, durations, ports, mounts, devices, hosts, shell words. Pure.

Each parser turns one text into plain values and raises `ValueError` with a message fit for the user.
"""

import re
from collections.abc import Callable
from typing import Any, Final

Fields = dict[str, Any]

_UNITS_NS: Final = {
    "ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
    "d": 86400 * 10**9, "w": 7 * 86400 * 10**9,
}  # fmt: skip
_DURATION_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d|w)")
_SIZE: Final = re.compile(r"(-?\d+(?:\.\d+)?)\s*([kmgtp]?)(?:i?b)?\Z", re.IGNORECASE)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_PORT: Final = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.%]*\]|[0-9]+(?:\.[0-9]+){3}):)?(?:(?P<published>[0-9]*(?:-[0-9]+)?):)?(?P<target>[0-9]+(?:-[0-9]+)?)"
    r"(?:/(?P<protocol>[a-zA-Z]+))?\Z"
)
_PROPAGATIONS: Final = frozenset({"shared", "rshared", "slave", "rslave", "private", "rprivate"})
_RESTART: Final = re.compile(r"(?:no|always|unless-stopped|on-failure(?::[0-9]+)?)\Z")
_PULL_POLICY: Final = re.compile(
    r"(?:always|never|build|missing|if_not_present|refresh|daily|weekly|every_(?:[0-9]+[wdhms])+)\Z"
)
#: Highest port number (RFC 793, section 3.1: 16 bits).
MAX_PORT: Final = 65_535


def size(text: str) -> int:
    """Parse `512m`, `1.5gb`, `-1` into bytes; units are powers of 1024."""
    match = _SIZE.match(text.strip())
    if match is None:
        raise ValueError(f'invalid size: "{text}"')
    return int(float(match[1]) * 1024 ** _POWERS[match[2].lower()])


def duration_ns(text: str) -> int:
    """Parse `1m30s` into nanoseconds."""
    total, at = 0.0, 0
    body = text.strip()
    while at < len(body):
        match = _DURATION_PART.match(body, at)
        if match is None:
            break
        total += float(match[1]) * _UNITS_NS[match[2]]
        at = match.end()
    if body == "0":
        return 0
    if not body or at < len(body):
        raise ValueError(f'invalid duration "{text}"')
    return int(total)


def print_duration(ns: int) -> str:
    """Print nanoseconds in the canonical form, largest unit first."""
    out: list[str] = []
    for unit in ("w", "d", "h", "m", "s", "ms", "us", "ns"):
        count, ns = divmod(ns, _UNITS_NS[unit])
        if count:
            out.append(f"{count}{unit}")
    return "".join(out) or "0s"


def duration(text: str) -> str:
    """Bring a duration into its canonical form."""
    return print_duration(duration_ns(text))


def number_text(value: float) -> str:
    """Print a number as an environment would show it."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return str(value)


def shell_words(text: str) -> list[str]:
    """Split a command line as a POSIX shell does, without expanding anything."""
    words: list[str] = []
    word: list[str] | None = None
    at, quote = 0, ""
    while at < len(text):
        char = text[at]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and text[at + 1 : at + 2] in {'"', "\\", "$", "`"}:
                at += 1
                (word := word or []).append(text[at])
            else:
                (word := word or []).append(char)
        elif char in "'\"":
            quote = char
            word = word or []
        elif char.isspace():
            if word is not None:
                words.append("".join(word))
                word = None
        elif char == "\\" and at + 1 < len(text):
            at += 1
            if text[at] != "\n":
                (word := word or []).append(text[at])
        else:
            if word is None:
                word = []
            word.append(char)
        at += 1
    if quote:
        raise ValueError(f"unterminated quote in: {text}")
    if word is not None:
        words.append("".join(word))
    return words


def port_range(text: str) -> tuple[int, int]:
    """Parse `80` or `80-90`."""
    low, _, high = text.partition("-")
    if not low.isdecimal() or (high and not high.isdecimal()):
        raise ValueError(f"invalid port: {text}")
    first, last = int(low), int(high or low)
    if last > MAX_PORT or first < 0:
        raise ValueError(f"port out of range: {text}")
    if last < first:
        raise ValueError(f"invalid range: {text}")
    return first, last


def ports(text: str) -> list[Fields]:
    """Parse `[ip:][host[-range]:]container[-range][/protocol]`; equal ranges become pairs."""
    match = _PORT.match(text)
    if match is None:
        raise ValueError(f'invalid port specification: "{text}"')
    first, last = port_range(match["target"])
    if first == 0:
        raise ValueError(f'invalid port specification: "{text}"')
    protocol = (match["protocol"] or "tcp").lower()
    if protocol not in {"tcp", "udp", "sctp"}:
        raise ValueError(f"invalid proto: {protocol}")
    base: Fields = {"mode": "ingress", "protocol": protocol}
    if match["ip"]:
        base["host_ip"] = match["ip"].strip("[]")
    published = match["published"]
    if not published:
        return [{**base, "target": port} for port in range(first, last + 1)]
    low, high = port_range(published)
    if first == last:
        return [{**base, "target": first, "published": published if high > low else str(low)}]
    if high - low != last - first:
        raise ValueError(f"invalid ranges specified for container and host ports: {text}")
    return [{**base, "target": first + step, "published": str(low + step)} for step in range(last - first + 1)]


def clean_target(path: str) -> str:
    """Normalise a path inside a container."""
    if not path.startswith("/"):
        raise ValueError(f"invalid mount path: '{path}' mount path must be absolute")
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/" + "/".join(parts)


def is_host_path(source: str) -> bool:
    """Tell whether a mount source names a place on the host and not a volume."""
    return source.startswith(("/", ".", "~"))


def mount(text: str, resolve: Callable[[str], str]) -> Fields:
    """Parse `[source:]target[:options]`; `resolve` makes host paths absolute."""
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise ValueError(
            f"invalid spec: {text}: too many colons"
            if len(parts) > 3
            else f"invalid spec: {text}: empty section between colons"
        )
    if len(parts) == 1:
        return {"type": "volume", "target": clean_target(parts[0]), "volume": {}}
    source, target = parts[0], clean_target(parts[1])
    bind = is_host_path(source)
    found: Fields = {
        "type": "bind" if bind else "volume",
        "source": resolve(source) if bind else source,
        "target": target,
    }
    inner: Fields = {}
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option == "ro":
            found["read_only"] = True
        elif option == "rw":
            found.pop("read_only", None)
        elif option in {"z", "Z"}:
            if bind:
                inner["selinux"] = option
        elif option in _PROPAGATIONS and bind:
            inner["propagation"] = option
        elif option == "nocopy" and not bind:
            inner["nocopy"] = True
        elif option in {"cached", "delegated", "consistent"}:
            found["consistency"] = option
        else:
            raise ValueError(f'unknown mount option "{option}" in {text}')
    found["bind" if bind else "volume"] = inner
    return found


def device(text: str) -> Fields:
    """Parse `source[:target[:permissions]]`."""
    parts = text.split(":")
    if len(parts) > 3 or not parts[0]:
        raise ValueError(f"confusing device mapping, please use long syntax: {text}")
    target = parts[1] if len(parts) > 1 and parts[1] else parts[0]
    return {"source": parts[0], "target": target, "permissions": parts[2] if len(parts) == 3 else "rwm"}


def extra_host(text: str) -> str:
    """Bring `host:ip` or `host=ip` into the form `host=ip`."""
    sign = "=" if "=" in text else ":"
    host, found, address = text.partition(sign)
    if not found or not host or not address:
        raise ValueError(f'bad host name "{text}": needs host=address')
    return f"{host}={address.strip('[]')}"


def restart(text: str) -> str:
    """Check a restart policy."""
    if not _RESTART.match(text):
        raise ValueError(f'invalid restart policy "{text}": one of no, always, unless-stopped, on-failure[:N]')
    return text


def pull_policy(text: str) -> str:
    """Check a pull policy."""
    if not _PULL_POLICY.match(text):
        raise ValueError(
            f'invalid pull policy "{text}": one of always, never, missing, build, daily, weekly, every_<duration>'
        )
    return "missing" if text == "if_not_present" else text


def mode(text: str) -> str:
    """Check file permission bits given in octal."""
    body = text.removeprefix("0o")
    if not re.match(r"[0-7]{1,5}\Z", body):
        raise ValueError(f'invalid mode "{text}": octal digits expected')
    return f"0{int(body, 8):03o}"
