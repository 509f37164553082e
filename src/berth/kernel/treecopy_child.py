"""The program `berth.kernel.copying` runs: copies one tree, and says how far it is, one JSON line after the other.

Arguments: verb, source, new directory. ``copy`` takes the best way there is: a snapshot of a subvolume, else files
that share their blocks where they can; ``instant`` the same, or nothing at all; ``plain`` moves every byte; ``into``
fills a directory that is there. The last line has ``how``, or ``errno``, ``why`` and ``path``. What is left of the new
directory after an error is for the caller to remove.
"""

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path

#: How often it is said how far the copy is, in seconds.
SAY_S = 0.25


def main(argv: list[str]) -> int:
    """Do what `argv` says."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    # Two descriptors for each level of a tree, and no tree is too deep.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setrecursionlimit(1_000_000)
    say(copy_tree(*argv))
    return 0


def say(what: dict[str, object]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def copy_tree(verb: str, source: str, new: str) -> dict[str, object]:
    """Copy, and return the last line."""
    from berth.kernel import btrfs
    from berth.kernel.treecopy import Counted, NotShareable, Sharing, TreeCopy

    copy: TreeCopy | None = None
    last = time.monotonic()

    def told(counted: Counted) -> None:
        nonlocal last
        if time.monotonic() - last > SAY_S:
            last = time.monotonic()
            say({"entries": counted.entries, "bytes": counted.moved_bytes})

    try:
        if verb in ("copy", "instant") and btrfs.snapshot(source, new):
            return {"how": "btrfs snapshot"}
        with contextlib.ExitStack() as stack:
            reader = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, reader)
            if verb != "into" and not btrfs.make_subvolume(new):
                os.mkdir(new, 0o700)
            writer = os.open(new, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, writer)
            sharing = {"instant": Sharing.ALWAYS, "plain": Sharing.NEVER}.get(verb, Sharing.IF_POSSIBLE)
            copy = TreeCopy(reader, writer, sharing=sharing, strict=True, told=told)
            copy.run()
    except NotShareable:
        return {"how": ""}
    except OSError as exc:
        at = copy.at if copy is not None else source
        return {"errno": exc.errno, "why": exc.strerror or str(exc), "path": os.fsencode(at).decode(errors="replace")}
    counted = copy.counted
    if not counted.copied and not counted.cloned:
        how = "no content to copy"
    elif not counted.copied:
        how = "reflinks"
    else:
        how = "reflinks and copies" if counted.cloned else "copy"
    return {"how": how, "entries": counted.entries, "bytes": counted.moved_bytes, "vanished": counted.vanished}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
