"""The program `berth.kernel.livemount` runs: changes the mounts of a container that runs, all or nothing.

It reads one order, by marshal, and prints an equals sign and what went wrong, nothing if it worked: most of its time it
starts, and so it imports only what it cannot do without (json alone would take as long as its work).

It has one thread, because only such a process may enter a mount namespace (setns(2)); a copy of every new mount is made
before anything changes; places are resolved inside the container's root from outside its namespace, so that nothing in
there is ever opened by name; while it is in there it does nothing but attach and detach by descriptor. Started by file
name with an isolated interpreter.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from berth.base.errors import SystemFault
from berth.kernel import rootpath, treemount
from berth.kernel.libc import LIBC, check
from berth.kernel.mountflags import MNT_DETACH, UMOUNT_NOFOLLOW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CLONE_NEWNS = 0x20000
#: Mounts on top of each other at one place that are taken away together.
MOST = 16


class Gone(Exception):
    """The container's process is not the one that was meant."""


class Place:
    """Where a mount is, or is to be: the directory it is in, its name there, and itself."""

    def __init__(self, root: int, target: str) -> None:
        self.fd = rootpath.open_inside(root, target)
        #: As the container's own root shows it, symlinks resolved.
        self.path = os.readlink(f"/proc/self/fd/{self.fd}")
        parent, self.name = os.path.split(self.path)
        self.parent = rootpath.open_inside(root, parent, os.O_PATH | os.O_DIRECTORY)

    def is_mounted(self) -> bool:
        """Tell whether a mount is there, under the name that is its own in the directory that is its own."""
        if not self.name or _mount_id(self.fd) == _mount_id(self.parent):
            return False
        again = os.open(self.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.parent)
        try:
            # The container may have moved things between the looks: then this is not the place that was meant.
            return _mount_id(again) == _mount_id(self.fd)
        finally:
            os.close(again)


def _mount_id(fd: int) -> str:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as text:
        return next(line for line in text if line.startswith("mnt_id:"))


class Inside:
    """Being in another mount namespace: nothing but attaching and detaching by descriptor is done there."""

    def __init__(self, there: int, own: int) -> None:
        self.there, self.own = there, own

    def __enter__(self) -> None:
        check(LIBC.setns(self.there, CLONE_NEWNS), "entering the container's mount namespace")

    def __exit__(self, *_: object) -> None:
        check(LIBC.setns(self.own, CLONE_NEWNS), "leaving the container's mount namespace")


class Change:
    """One order being carried out."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        pid = int(order["pid"])
        self.root_path = f"/proc/{pid}/root"
        self.own = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        self.there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
        self.root = os.open(self.root_path, os.O_PATH | os.O_DIRECTORY)
        with open(f"/proc/{pid}/stat", "rb") as text:
            ticks = text.read().rpartition(b")")[2].split()[19]
        if int(ticks) != int(order["started"]):
            raise Gone
        self.undo: list[Callable[[], None]] = []

    def inside(self) -> Inside:
        """Be in the container's mount namespace."""
        return Inside(self.there, self.own)

    def run(self) -> None:
        """Carry the order out; what was done is in `undo`."""
        trees = {entry["target"]: tree_of(entry) for entry in self.order["attach"]}
        swapped = set()
        for target in self.order["detach"]:
            if target in trees and target in self.order["alone"] and self.swap(target, trees[target]):
                swapped.add(target)
                continue
            self.detach(target)
        for target, tree in trees.items():
            if target not in swapped:
                self.attach(target, tree)

    def swap(self, target: str, tree: int) -> bool:
        """Put a tree under the mount that is there and take that away: no moment without either."""
        place = Place(self.root, target)
        if not place.is_mounted():
            return False
        with self.inside():
            old = treemount.clone_open(place.fd)
            try:
                treemount.attach(tree, place.fd, beneath=True)
            except OSError:  # an older kernel, or a place where that cannot be
                os.close(old)
                return False
            self.undo.append(lambda: self.back(target, old))
            self.unmount(place)
        return True

    def detach(self, target: str) -> None:
        """Take away what is mounted at a place."""
        place = Place(self.root, target)
        if not place.is_mounted():
            return
        with self.inside():
            old = treemount.clone_open(place.fd)
            self.unmount(place)
        self.undo.append(lambda: self.back(target, old))

    def clear(self, target: str) -> None:
        """Take away all that is mounted at a place."""
        for _ in range(MOST):
            try:
                place = Place(self.root, target)
            except OSError:
                return
            if not place.is_mounted():
                return
            with self.inside():
                self.unmount(place)

    def unmount(self, place: Place) -> None:
        """Take away the topmost mount at a place (inside)."""
        # A mount point cannot be renamed or replaced in its own namespace: the name still means what was looked at.
        os.fchdir(place.parent)
        check(LIBC.umount2(os.fsencode(place.name), MNT_DETACH | UMOUNT_NOFOLLOW), f"detaching {place.path}")

    def back(self, target: str, tree: int) -> None:
        """Have the tree at a place, and nothing else."""
        self.clear(target)
        place = Place(self.root, target)
        with self.inside():
            treemount.attach(tree, place.fd)

    def attach(self, target: str, tree: int) -> None:
        """Put a tree at a place, made if it is missing."""
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        try:
            fits = rootpath.make_target(self.root_path, target, directory=directory)
        except rootpath.NotADirectoryHere:
            fits = False
        if not fits:
            raise SystemFault(
                f'error mounting to "{target}": not a directory: '
                "Are you trying to mount a directory onto a file (or vice-versa)?"
            )
        place = Place(self.root, target)
        if place.path in self.order["protected"] or place.path.startswith(("/proc/", "/sys/")):
            raise SystemFault(f"{target} is {place.path} in this container, where nothing can be mounted while it runs")
        with self.inside():
            treemount.attach(tree, place.fd)
        self.undo.append(lambda: self.clear(target))

    def take_back(self) -> None:
        """Undo what was done."""
        for one in reversed(self.undo):
            one()


def tree_of(entry: dict[str, Any]) -> int:
    """Return a mount that is nowhere yet, as an entry of an OCI specification describes it."""
    options = entry["options"]
    if entry["type"] == "tmpfs":
        return treemount.new_tmpfs(options)
    tree = treemount.clone(entry["source"], recursive="rbind" in options)
    for word in options:
        if word in treemount.PROPAGATION:
            treemount.set_attributes(
                tree, propagation=treemount.PROPAGATION[word], recursive=word.startswith("r") and "rbind" in options
            )
    if "ro" in options:
        treemount.set_attributes(tree, add=treemount.RDONLY, recursive="rro" in options)
    return tree


def main() -> str:
    """Carry out the order and return what went wrong."""
    order = marshal.load(sys.stdin.buffer)  # noqa: S302  the engine's own word
    LIBC.alarm(int(order["limit_s"]))  # should nobody be left to end it
    try:
        change = Change(order)
    except (OSError, Gone):
        return "the container ended meanwhile"
    try:
        if order["clear"]:
            for target in order["detach"]:
                change.clear(target)
            change.order["detach"] = []
        change.run()
    except (OSError, SystemFault) as exc:
        change.take_back()
        if isinstance(exc, OSError):
            return f"{exc.filename or ''}: {exc.strerror}".removeprefix(": ")
        return str(exc)
    return ""


if __name__ == "__main__":
    sys.stdout.buffer.write(b"=" + main().encode("utf-8", "surrogateescape"))
