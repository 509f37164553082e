"""`berth volume ls-files`, `cat`, `cp` and `exec`: what is in a volume, though no container runs."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session

#: The image of `exec`: small, and made without a registry by `berth image bootstrap busybox`.
_IMAGE = "busybox"
#: Where a volume is mounted for a command that does not say.
_PLACE = "/volume"


def _split(text: str) -> tuple[str, str]:
    """Take ``VOLUME[:PATH]`` apart."""
    name, _, path = text.partition(":")
    return name, path or "/"


def _list(session: Session, parsed: Parsed) -> None:
    import json

    name, path = _split(parsed.args[0])
    long, zero = parsed.flag("long"), parsed.flag("zero")
    if long and zero:
        raise CommandFailed("--zero is for names alone: leave --long away")
    query = {"path": path, "recursive": parsed.flag("recursive") or None, "long": long or None}
    for line in session.client.stream("GET", f"/berth/volumes/{part(name)}/files", query).lines():
        entry = json.loads(line)
        if zero:
            sys.stdout.write(f"{entry['Name']}\0")
            continue
        session.line(_long(entry) if long else _shown(entry["Name"]))


def _shown(name: str) -> str:
    """Print a name so that it stays in its line and leaves the terminal alone."""
    if name.isprintable():
        return name
    fine = (char.isprintable() or "\udc80" <= char <= "\udcff" for char in name)  # bytes that are no UTF-8
    return "".join(char if good else f"\\x{ord(char):02x}" for char, good in zip(name, fine, strict=True))


def _long(entry: dict[str, Any]) -> str:
    from time import localtime, strftime

    at = strftime("%Y-%m-%d %H:%M", localtime(entry["ModifiedNs"] // 10**9))
    link = f" -> {_shown(entry['Target'])}" if entry["Target"] else ""
    owner = f"{entry['Uid']:>5} {entry['Gid']:>5}"
    return f"{entry['Mode']} {entry['Links']:>3} {owner} {entry['Size']:>10} {at} {_shown(entry['Name'])}{link}"


def _cat(session: Session, parsed: Parsed) -> int:
    status = 0
    for text in parsed.args:
        name, path = _split(text)
        sys.stdout.flush()
        try:
            for piece in session.client.stream("GET", f"/berth/volumes/{part(name)}/content", {"path": path}).chunks():
                sys.stdout.buffer.write(piece)
        except ApiError as error:
            session.warn(f"Error response from daemon: {error.message}")
            status = 1
    sys.stdout.buffer.flush()
    return status


def _cp(session: Session, parsed: Parsed) -> None:
    from berth.cli.commands.copy import copy_in, copy_out, split_argument

    (out_of, source), (into, target) = map(split_argument, parsed.args)
    if out_of and into:
        raise CommandFailed("copying between volumes is not what cp does; see: berth volume clone --help")
    if not out_of and not into:
        raise CommandFailed("must specify at least one volume source, as VOLUME:PATH")
    if out_of:
        source = "/." if source.strip("/.") == "" else source
        count = copy_out(session, parsed, f"/berth/volumes/{part(out_of)}/archive", source, target)
        where = target if target == "-" else os.path.abspath(target)
    else:
        count = copy_in(session, parsed, f"/berth/volumes/{part(into)}/archive", source, target or "/")
        where = f"{into}:{target or '/'}"
    if target != "-" and not parsed.flag("quiet") and os.isatty(2):
        from berth.cli.human import size

        session.warn(f"Successfully copied {size(count)} to {where}")


def _exec(session: Session, parsed: Parsed) -> int:
    from berth.cli import flags
    from berth.cli.commands.run import RUN

    text, *command = parsed.args
    name, place = _split(text)
    place = _PLACE if place == "/" else place
    command = command[1:] if command[:1] == ["--"] else command
    if not command:
        raise CommandFailed("a command is needed: berth volume exec VOLUME -- COMMAND [ARG...]")
    snapshot = ",readonly" if "@" in name else ""
    if not snapshot:
        session.client.get(f"/volumes/{part(name)}")  # -v would make one that is not there
    # Commas and quotes of a place would be read as parts of the flag.
    if any(char in place for char in ',"\n'):
        raise CommandFailed(f"{place}: a volume cannot be mounted at a path with commas, quotes or line ends here")
    ours = [
        "--rm", "--mount", f"type=volume,source={name},target={place},volume-nocopy{snapshot}", "--workdir", place,
        "--network", "none", "--entrypoint", command[0],
    ]  # fmt: skip
    ours += ["--interactive"] if parsed.flag("interactive") else []
    ours += ["--tty"] if parsed.flag("tty") else []
    ours += ["--user", parsed.text("user")] if parsed.text("user") else []
    ours += [word for pair in parsed.list("env") for word in ("--env", pair)]
    image = parsed.text("image") or _IMAGE
    try:
        return RUN.run(session, flags.parse([*ours, image, *command[1:]], RUN.flags, interspersed=False)) or 0
    except CommandFailed as error:
        if error.status == 125 and not parsed.text("image") and "image" in error.message.lower():
            hint = f"It runs in image {_IMAGE}: berth image bootstrap {_IMAGE} makes it, --image names another."
            raise CommandFailed(f"{error.message}\n{hint}", 125) from None
        raise


LS_FILES = Command(
    "[OPTIONS] VOLUME[:PATH]",
    _list,
    (
        Flag("long", "l", "bool", "Show kind and permissions, owner, size and time"),
        Flag("recursive", "R", "bool", "List what is in directories, too, with its path"),
        Flag("zero", "0", "bool", "Write names as they are, each with a NUL byte at its end"),
    ),
    least=1,
    most=1,
)
CAT = Command("VOLUME:PATH [VOLUME:PATH...]", _cat, least=1, most=None)
CP = Command(
    "[OPTIONS] VOLUME:SRC_PATH DEST_PATH|-\n  berth volume cp [OPTIONS] SRC_PATH|- VOLUME:DEST_PATH",
    _cp,
    (
        Flag("archive", "a", "bool", "Archive mode (copy all uid/gid information)"),
        Flag("follow-link", "L", "bool", "Always follow symbol link in SRC_PATH"),
        Flag("quiet", "q", "bool", "Suppress progress output during copy"),
    ),
    least=2,
    most=2,
    long=(
        "Copy files/folders between a volume and the local filesystem, with no container.\n\n"
        "As with 'berth cp': '-' as the source reads a tar archive from stdin, as the destination writes one to stdout."
    ),
)
EXEC = Command(
    "[OPTIONS] VOLUME[:/PATH] [--] COMMAND [ARG...]",
    _exec,
    (
        Flag("image", "", "string", f'Image of the container (default "{_IMAGE}")'),
        Flag("interactive", "i", "bool", "Keep STDIN open"),
        Flag("tty", "t", "bool", "Allocate a pseudo-TTY"),
        Flag("user", "u", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        Flag("env", "e", "list", "Set environment variables"),
    ),
    least=1,
    most=None,
    interspersed=False,
    long=(
        f"Run a command in a container of its own, with the volume at PATH ({_PLACE}) as its working directory and no\n"
        "network. The container is gone afterwards; the exit code is the command's."
    ),
)
