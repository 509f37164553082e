"""Who may write, as the kernel decides by numbers and access control lists."""

import stat
import struct
from dataclasses import dataclass

import pytest

from berth.volumes.mounts.access import Owned, may_write


@dataclass(frozen=True)
class Person:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANY = 0xFFFFFFFF
#: user::rwx user:7:rwx group::r-x group:9:rwx mask::rwx other::---
LISTED = acl((1, 7, ANY), (2, 7, 7), (4, 5, ANY), (8, 7, 9), (16, 7, ANY), (32, 0, ANY))
#: The same with a mask that takes writing away.
MASKED = acl((1, 7, ANY), (2, 7, 7), (4, 5, ANY), (8, 7, 9), (16, 5, ANY), (32, 7, ANY))


@pytest.mark.parametrize(
    ("mode", "person", "allowed"),
    [
        (0o755, Person(1, 5), True),
        (0o555, Person(1, 5), False),
        (0o577, Person(1, 2), False),  # the owner is asked as the owner, whatever others may
        (0o775, Person(5, 2), True),
        (0o775, Person(5, 5, (2,)), True),
        (0o757, Person(5, 2), False),
        (0o757, Person(5, 5), True),
        (0o722, Person(5, 5), False),  # writing in a directory takes entering it
    ],
)
def test_modes(mode: int, person: Person, allowed: bool) -> None:
    assert may_write(Owned(1, 2, mode | stat.S_IFDIR), person) is allowed


def test_a_file_needs_no_entering() -> None:
    assert may_write(Owned(1, 2, 0o622 | stat.S_IFREG), Person(5, 5))


@pytest.mark.parametrize(
    ("entries", "person", "allowed"),
    [
        (LISTED, Person(7, 0), True),
        (LISTED, Person(8, 9), True),
        (LISTED, Person(8, 8, (9,)), True),
        (LISTED, Person(8, 2), False),
        (LISTED, Person(8, 8), False),
        (MASKED, Person(7, 0), False),
        (MASKED, Person(8, 9), False),
        (MASKED, Person(8, 8), True),
        (b"junk", Person(8, 8), False),
    ],
)
def test_access_control_lists(entries: bytes, person: Person, allowed: bool) -> None:
    assert may_write(Owned(1, 2, 0o770 | stat.S_IFDIR, entries), person) is allowed
