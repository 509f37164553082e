"""How still the users of a volume are to hold, as flags and labels say it, and what came of it. Pure.

    none     nothing is done; files may change while they are read
    pause    every running container that uses the volume is frozen (cgroup freezer) until all is read
    stop     those containers are stopped, and started again when all is read
    freeze   frozen only until a copy of one instant is taken (btrfs snapshot, reflinks), which is then read; a volume
             that is a file system of its own is frozen itself (FIFREEZE); where neither can be, it is as ``pause``
    hook     commands in the containers prepare for it and end it; the containers go on

Hooks (``berth.backup.pre`` and ``.post`` of a container, or flags) run around every mode but ``none``.
"""

import shlex
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

import msgspec

from berth.base.errors import InvalidArgument

MODE_LABEL: Final = "berth.backup.consistency"
PRE_LABEL: Final = "berth.backup.pre"
POST_LABEL: Final = "berth.backup.post"

#: How long a container may take until all its processes are frozen, in seconds.
FREEZE_LIMIT_S: Final = 10.0
#: How long a hook may take unless its caller says otherwise, in seconds: a CHECKPOINT of much takes minutes.
HOOK_LIMIT_S: Final = 300.0


class Mode(Enum):
    """How still the users hold."""

    NONE = "none"
    PAUSE = "pause"
    STOP = "stop"
    FREEZE = "freeze"
    HOOK = "hook"


#: Of several labels the one that disturbs most wins: nobody's wish for order is ignored.
_STRICTNESS: Final = (Mode.STOP, Mode.PAUSE, Mode.FREEZE, Mode.HOOK, Mode.NONE)


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller asks for; with `mode` None the labels decide, else `default`. Its hooks replace the labels'."""

    mode: Mode | None = None
    default: Mode = Mode.FREEZE
    pre: str = ""
    post: str = ""
    hook_limit_s: float = HOOK_LIMIT_S


class Writer(msgspec.Struct, frozen=True, kw_only=True):
    """A running container that uses a volume, as far as holding still goes."""

    id: str
    name: str
    labels: Mapping[str, str] = {}
    started_ns: int = 0
    #: It is removed when it stops.
    auto_remove: bool = False
    #: Its user has paused it already.
    paused: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, and what the data read is worth.

    `crash_consistent`: all files of all volumes are as they were at one instant, `at_ns`, as after a power failure.
    """

    mode: Mode
    how: str
    crash_consistent: bool
    at_ns: int
    containers: tuple[str, ...] = ()
    #: How long the containers could not work, in nanoseconds.
    held_ns: int = 0
    warnings: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, object]:
        """Render it as the API shows it, and as manifests and snapshots keep it."""
        return {
            "Mode": self.mode.value,
            "How": self.how,
            "CrashConsistent": self.crash_consistent,
            "At": self.at_ns,
            "Containers": list(self.containers),
            "HeldMilliseconds": self.held_ns // 1_000_000,
            "Warnings": list(self.warnings),
        }


def parse_mode(text: str, where: str = "consistency") -> Mode | None:
    """Read a mode; None for an empty text. Raises `InvalidArgument`."""
    if not text:
        return None
    try:
        return Mode(text)
    except ValueError:
        known = ", ".join(mode.value for mode in Mode)
        raise InvalidArgument(f'invalid {where} "{text}": known are {known}') from None


def choose(wish: Wish, volumes: Iterable[Mapping[str, str]], writers: Iterable[Writer]) -> Mode:
    """Return the mode that holds: the wish, else the labels of the volumes, else those of containers, else the default.

    Raises `InvalidArgument` for a label that names no mode.
    """
    if wish.mode is not None:
        return wish.mode
    for labels in (list(volumes), [writer.labels for writer in writers]):
        said = {parse_mode(one.get(MODE_LABEL, ""), f"label {MODE_LABEL}") for one in labels}
        for mode in _STRICTNESS:
            if mode in said:
                return mode
    return wish.default


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """The commands that run in one container; empty where there is none."""

    pre: tuple[str, ...] = ()
    post: tuple[str, ...] = ()


def hooks(wish: Wish, writer: Writer) -> Hooks:
    """Return what runs in `writer`. Raises `InvalidArgument`."""
    pre, post = wish.pre or writer.labels.get(PRE_LABEL, ""), wish.post or writer.labels.get(POST_LABEL, "")
    return Hooks(pre=parse_command(pre), post=parse_command(post))


def parse_command(text: str) -> tuple[str, ...]:
    """Read a hook as an image's CMD is: a JSON list of words, or a text for the shell. Raises `InvalidArgument`."""
    if not text.strip():
        return ()
    if not text.lstrip().startswith("["):
        return ("/bin/sh", "-c", text)
    try:
        words = msgspec.json.decode(text, type=list[str])
    except msgspec.DecodeError as exc:
        raise InvalidArgument(f"invalid hook {text}: not a JSON list of words: {exc}") from None
    if not words:
        raise InvalidArgument(f"invalid hook {text}: no command")
    return tuple(words)


def spelt(argv: Iterable[str]) -> str:
    """Write a command as a shell would take it."""
    return shlex.join(argv)
