"""What tells a tree from the same tree after any change of it: found out in a process of its own, from metadata alone.

Two equal fingerprints say that nothing was changed in between, if the first one was `settled`: nothing in the tree was
so young that a later change could have left the same time on it. Every name, inode, size, mode, owner and time counts;
attributes, ACLs and content change the change time, which nobody can set.
"""

import logging
import sys
from pathlib import Path
from typing import Final

import msgspec

from berth.kernel import process

log = logging.getLogger(__name__)

#: Change times are told apart from about here on, in nanoseconds: kernels note them in ticks of 1 to 10 ms, file
#: systems in whole seconds at worst.
GRAIN_NS: Final = 2_000_000_000
#: How long a walk may take, in seconds, before reading all seems the better way.
LIMIT_S: Final = 600.0
_CHILD: Final = str(Path(__file__).with_name("fingerprint_child.py"))


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a tree was like."""

    sum: str = ""
    entries: int = 0
    #: When it was begun to be looked at, and the youngest change in it.
    began_ns: int = 0
    newest_ns: int = 0
    #: Why there is none.
    why: str = ""

    def settled(self, before_ns: int = 0) -> bool:
        """Tell whether all that is seen was so before the walk, and before `before_ns`, and any change since shows."""
        since = min(self.began_ns, before_ns or self.began_ns)
        return bool(self.sum) and self.newest_ns < since - GRAIN_NS


async def fingerprint(directory: Path, *, sync: bool) -> Fingerprint | None:
    """Take it; None where there is none to be had: something was changed meanwhile, or change times are not sure.

    `sync` for a tree that somebody may have mapped into memory: pages written before are clean then, and the next write
    to them sets the change time.
    """
    argv = process.ending_with_us((sys.executable, "-I", "-S", _CHILD, str(directory), "sync" if sync else "walk"))
    try:
        answer = await process.run(argv, timeout_s=LIMIT_S, env={})
        found = msgspec.json.decode(answer.stdout, type=Fingerprint)
    except (process.ProgramFailed, process.ProgramTimedOut, msgspec.DecodeError) as exc:
        log.warning("%s: no fingerprint: %s", directory, exc)
        return None
    if found.why:
        log.info("%s: no fingerprint: %s", directory, found.why)
        return None
    return found
