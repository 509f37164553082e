"""Parses ``-p`` and ``--expose`` into what the API wants. Pure."""

from __future__ import annotations

from berth.cli.errors import CommandFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    Bindings = dict[str, list[dict[str, str]]]


def _range(text: str, what: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last] if dash else [first, first]
    if not all(number.isascii() and number.isdecimal() and int(number) <= 65_535 for number in numbers):
        raise CommandFailed(f"invalid {what}: {text}", 125)
    start, end = int(numbers[0]), int(numbers[1])
    if end < start:
        raise CommandFailed(f"invalid {what}: {text}", 125)
    return start, end


def _fields(spec: str) -> dict[str, str]:
    """Read ``published=80,target=80,…``; ``from`` may be there more than once."""
    from berth.cli.flags import split_csv

    found = {"published": "", "target": "", "protocol": "tcp", "host_ip": "", "from": ""}
    for field in split_csv(spec):
        key, equals, value = field.partition("=")
        if not equals or not value:
            raise CommandFailed(f"invalid field: {field}", 125)
        if key == "mode":
            continue
        if key not in found:
            raise CommandFailed(f"invalid field key: {key}", 125)
        found[key] = f"{found[key]},{value}" if key == "from" and found[key] else value
    if not found["target"]:
        raise CommandFailed(f"missing mandatory field '\"target\"' in {spec}", 125)
    return found


def _short_form(spec: str) -> str:
    """Turn the long form into the short one."""
    found = _fields(spec)
    address = found["host_ip"]
    where = f"[{address}]:" if ":" in address else f"{address}:" if address else ""
    return f"{where}{found['published']}:{found['target']}/{found['protocol']}"


def sources(specs: list[str]) -> dict[str, str]:
    """Return the labels that say who may use published ports: what ``from=`` names in the long form of ``-p``.

    Raises:
        CommandFailed: A text is no port mapping.
    """
    labels: dict[str, str] = {}
    for spec in specs:
        found = _fields(spec) if "=" in spec else {}
        if found.get("from"):
            first, last = _range(found["target"], "containerPort")
            for port in range(first, last + 1):
                labels[f"berth.publish.from.{port}/{found['protocol']}"] = found["from"]
    return labels


def _split(spec: str) -> tuple[str, str, str]:
    """Split into address, host port, container port."""
    head, _, container = spec.rpartition(":")
    if head.startswith("["):
        address, closed, host = head[1:].partition("]")
        if not closed:
            raise CommandFailed(f"invalid IP address: {head}", 125)
        return address, host.removeprefix(":"), container
    address, _, host = head.rpartition(":")
    return address, host, container


def publish(specs: list[str]) -> tuple[list[str], Bindings]:
    """Parse ``-p`` flags: the exposed ports and the bindings of each.

    Raises:
        CommandFailed: A text is no port mapping.
    """
    exposed: list[str] = []
    bindings: Bindings = {}
    for given in specs:
        spec = _short_form(given) if "=" in given else given
        body, _, protocol = spec.partition("/")
        protocol = protocol.lower() or "tcp"
        address, host, container = _split(body)
        if not container:
            raise CommandFailed(f"no port specified: {spec}<empty>", 125)
        first, last = _range(container, "containerPort")
        if protocol not in ("tcp", "udp", "sctp"):
            raise CommandFailed(f"invalid proto: {protocol}", 125)
        if address:
            _check_address(address)
        start = end = 0
        if host:
            start, end = _range(host, "hostPort")
            if end - start != last - first and first != last:
                raise CommandFailed(
                    f"invalid ranges specified for container and host Ports: {container} and {host}", 125
                )
        for offset in range(last - first + 1):
            port = f"{first + offset}/{protocol}"
            published = ""
            if host:
                # A range of host ports for one port of the container: the engine takes the first free one.
                published = f"{start}-{end}" if first == last and start != end else str(start + offset)
            if port not in exposed:
                exposed.append(port)
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": published})
    return exposed, bindings


def _check_address(text: str) -> None:
    import socket

    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.inet_pton(family, text)
    except OSError:
        raise CommandFailed(f"invalid IP address: {text}", 125) from None


def expose(specs: list[str]) -> list[str]:
    """Parse ``--expose`` flags.

    Raises:
        CommandFailed: A text is no port or range of ports.
    """
    ports: list[str] = []
    for spec in specs:
        if ":" in spec:
            raise CommandFailed(f"invalid port format for --expose: {spec}", 125)
        body, _, protocol = spec.partition("/")
        try:
            first, last = _range(body, "port")
        except CommandFailed:
            raise CommandFailed(
                f"invalid range format for --expose: {body}, "
                f'error: strconv.ParseUint: parsing "{body}": invalid syntax',
                125,
            ) from None
        ports.extend(f"{port}/{protocol.lower() or 'tcp'}" for port in range(first, last + 1))
    return ports
