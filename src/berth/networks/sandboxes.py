"""The blocking side of a container's networking: namespaces, resolver sockets, files. Runs in worker threads.

Must not: decide anything or know records' stores.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from berth.base.errors import EngineError
from berth.kernel import conntrack, link, netns, nft, sublink
from berth.networks.dns.model import ADDRESS, Sockets
from berth.networks.firewall.ruleset import resolver_redirect
from berth.plan.model import Plan, Step
from berth.plan.run import Runner

log = logging.getLogger(__name__)

#: Connections waiting to be accepted by the name server.
BACKLOG: Final = 64

TARGETS: Final = ("/etc/hosts", "/etc/resolv.conf", "/etc/hostname")


def resolver_sockets(namespace: str) -> Sockets:
    """Open the name server's sockets in a namespace and lead port 53 to them; the caller owns the descriptors."""

    def make() -> tuple[int, int]:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as udp,
            socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as tcp,
        ):
            udp.bind((ADDRESS, 0))
            tcp.bind((ADDRESS, 0))
            tcp.listen(BACKLOG)
            nft.run_once(resolver_redirect(ADDRESS, udp.getsockname()[1], tcp.getsockname()[1]))
            return udp.detach(), tcp.detach()

    udp, tcp = netns.inside(namespace, make)
    return Sockets(udp, tcp, os.open(namespace, os.O_RDONLY | os.O_CLOEXEC))


def close_sockets(sockets: Sockets) -> None:
    """Close them all."""
    for fd in sockets:
        os.close(fd)


class Prepared(NamedTuple):
    """What was made for a container: its resolver's sockets, and what takes the plan back, in order."""

    sockets: Sockets | None
    undo: tuple[Step, ...]


def prepare(runner: Runner, plan: Plan, namespace: str, files: Mapping[Path, str], *, resolver: bool) -> Prepared:
    """Carry out a container's plan, write its files and open its resolver's sockets, in one go; undone on error."""
    undo = runner.run_blocking(plan)
    try:
        for path, text in files.items():
            write_in_place(path, text)
        return Prepared(resolver_sockets(namespace) if resolver else None, undo)
    except BaseException:
        runner.apply_all(undo)
        raise


def write_in_place(path: Path, text: str) -> None:
    """Write a file that containers may have bind-mounted: a rename would leave them the old one.

    Cut to length only afterwards: truncating first makes ext4 write it out at once.
    """
    data = text.encode(errors="surrogateescape")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, flags, 0o644)
    try:
        os.fchmod(fd, 0o644)
        if os.pread(fd, len(data) + 1, 0) != data:
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def share_files(directory: Path, other: Path) -> None:
    """Make the files of one container those of another too: the same inodes, whichever of the two is removed.

    A bind mount of one goes on showing what is written to the other.
    """
    other.mkdir(parents=True, exist_ok=True)
    for target in TARGETS:
        name = target.rpartition("/")[2]
        with contextlib.suppress(FileNotFoundError):
            (directory / name).stat()
            (other / name).unlink(missing_ok=True)
            os.link(directory / name, other / name)


def cut_off(links: Iterable[str], group: int, commands: str, datagrams_to: Iterable[str]) -> None:
    """Take links to containers down, to be deleted with their group, and what led to them by rules and memory."""
    link.retire(tuple(links), group)
    if commands:
        nft.host().run(commands)
    if datagrams_to:
        conntrack.forget_datagrams(list(datagrams_to))


def delete_inside(namespace: str, names: Iterable[str]) -> None:
    """Delete links that have no end out here."""
    for name in names:
        sublink.delete_inside(namespace, name)


def vacate(runner: Runner, plan: Plan, namespace: str, links: Iterable[str]) -> None:
    """Empty a namespace that is kept: carry out `plan`, then bring the links down and out of their names' way."""
    try:
        runner.run_blocking(plan)
        for name in links:
            link.take_out(namespace, name)
    except EngineError as exc:
        log.warning("namespace %s was not emptied: %s", namespace, exc)


def edit_lines(path: Path, *, add: str = "", drop: str = "") -> None:
    """Drop each of our lines `drop` once and add some; what a user wrote stays as it is."""
    try:
        text = path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return
    lines = text.splitlines(keepends=True)
    for line in drop.splitlines(keepends=True):
        if line in lines:
            lines.remove(line)
    if add and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    write_in_place(path, "".join(lines) + add)
