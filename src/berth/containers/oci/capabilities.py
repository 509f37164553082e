"""Which capabilities a container has: the defaults, and what it adds and drops. Pure."""

from collections.abc import Iterable, Sequence

from berth.base.errors import InvalidArgument
from berth.containers.oci.defaults import ALL_CAPABILITIES, CAPABILITIES


class UnknownCapability(InvalidArgument):
    """No such capability."""

    def __init__(self, where: str, name: str) -> None:
        super().__init__(f'invalid {where}: unknown capability: "{name}"')


def normalised(where: str, names: Iterable[str]) -> list[str]:
    """Write names as ``CAP_X`` or ``ALL``; raises `UnknownCapability` naming the field `where`."""
    result = []
    for raw in names:
        name = raw.upper()
        if name != "ALL":
            name = name if name.startswith("CAP_") else f"CAP_{name}"
            if name not in ALL_CAPABILITIES:
                raise UnknownCapability(where, name)
        result.append(name)
    return result


def chosen(known: Sequence[str], add: Iterable[str], drop: Iterable[str], *, privileged: bool) -> tuple[str, ...]:
    """Return the capabilities of a container on a kernel that has those `known`."""
    if privileged:
        return tuple(known)
    adds, drops = normalised("CapAdd", add), set(normalised("CapDrop", drop))
    if "ALL" in adds:
        base: Sequence[str] = known
    elif "ALL" in drops:
        base = ()
    else:
        base = CAPABILITIES
    wanted = (set(base) - drops) | {name for name in adds if name != "ALL"}
    return tuple(name for name in ALL_CAPABILITIES if name in wanted and name in known)
