"""Files under other owners: seen so through one mount (id-mapped), or changed for good; in a process of its own.

Must not: know why somebody is to own what.
"""

import sys
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process

_CHILD: Final = str(Path(__file__).with_name("owners_child.py"))


class OwnersFailed(SystemFault):
    """Owners could not be changed, or mapped."""


class Mapped(msgspec.Struct, frozen=True):
    """What is mounted now."""

    error: str = ""
    directory: bool = True
    read_only: bool = False


async def idmap(
    source: str, place: str, uid: int, gid: int, *, recursive: bool, create: bool, timeout_s: float
) -> Mapped:
    """Mount `source` at `place` with its owner seen as `uid`:`gid`, and these as its owner; all other ids as they are.

    With `create` a missing source is made as a directory. Raises `OwnersFailed`.
    """
    said = await _ask(
        {"verb": "idmap", "source": source, "place": place, "uid": uid, "gid": gid, "recursive": recursive,
         "create": create}, timeout_s,
    )  # fmt: skip
    if said.error:
        raise OwnersFailed(f"cannot map the owners of {source}: {said.error}")
    return said


async def give(source: str, uid: int, gid: int, *, timeout_s: float) -> None:
    """Make `source`, and all below it on its file system, belong to `uid`:`gid`. Raises `OwnersFailed`."""
    said = await _ask({"verb": "give", "source": source, "uid": uid, "gid": gid}, timeout_s)
    if said.error:
        raise OwnersFailed(f"cannot change the owner of {source} to {uid}:{gid}: {said.error}")


async def _ask(order: dict[str, object], timeout_s: float) -> Mapped:
    argv = (sys.executable, "-I", "-S", _CHILD, msgspec.json.encode(order).decode())
    try:
        answer = await process.run(argv, timeout_s=timeout_s, env={})
    except process.ProgramTimedOut:
        raise OwnersFailed(f"{order['source']}: no end within {timeout_s:g} s") from None
    except process.ProgramFailed as exc:
        raise OwnersFailed(f"{order['source']}: the process that changes owners {exc.how}") from exc
    return msgspec.json.decode(answer.stdout, type=Mapped)
