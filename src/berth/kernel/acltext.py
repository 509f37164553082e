"""Access control lists as GNU tar writes them, turned into what the kernel keeps. Pure.

Sources: acl(5), "ACL text forms"; linux/posix_acl_xattr.h. Names of users and groups mean nothing here: only numbers
are taken, as with ``--numeric-owner``.
Runs inside child processes: standard library only.
"""

from typing import Final

_VERSION: Final = b"\x02\0\0\0"
_TAGS: Final = {(b"user", False): 1, (b"user", True): 2, (b"group", False): 4, (b"group", True): 8,
                (b"mask", False): 0x10, (b"other", False): 0x20}  # fmt: skip
_SHORT: Final = {b"u": b"user", b"g": b"group", b"m": b"mask", b"o": b"other"}
_NOBODY: Final = 0xFFFF_FFFF


def packed(text: bytes) -> bytes | None:
    """Return the value of ``system.posix_acl_access`` or ``…_default``; None for what numbers cannot express."""
    entries = []
    for line in text.replace(b",", b"\n").split(b"\n"):
        stated = line.split(b"#", 1)[0].strip()
        if not stated:
            continue
        tag, _, rest = stated.partition(b":")
        who, _, rights = rest.partition(b":")
        who, _, number = who.partition(b":")
        fields = stated.split(b":")
        if len(fields) == 4 and fields[3].isdigit():  # star's form: user:NAME:rwx:NUMBER
            who, rights = fields[3], fields[2]
        kind = _TAGS.get((_SHORT.get(tag, tag), bool(who)))
        if kind is None or (who and not who.isdigit()) or len(rights) != 3 or number:
            return None
        bits = sum(bit for bit, letter in zip((4, 2, 1), b"rwx", strict=True) if letter in rights)
        entries.append((kind, int(who) if who else _NOBODY, bits))
    if not entries:
        return None
    return _VERSION + b"".join(
        kind.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little")
        for kind, who, bits in sorted(entries)
    )
