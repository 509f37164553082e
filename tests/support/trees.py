"""Trees of files to copy, archive and restore, and the comparison that says what a copy lost.

`plant` makes a tree from nodes, `trees` draws nodes for property tests, `rich` is one tree with everything a volume
may hold, `many` a large plain one. `look` reads a tree with all its metadata; `difference` names what two looks
disagree about.
"""

import contextlib
import hashlib
import os
import random
import socket
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

#: One name in bytes of each kind that has broken an archiver: spaces, line ends, quotes, no UTF-8, dashes, long ones.
ODD_NAMES = (
    b"with space", b"line\nend", b"tab\there", b'quote"d', b"back\\slash", b"\xff\xfe no text", "überlang".encode(),
    b"-rf", b"--checkpoint=1", b"~", b"a" * 255, b".hidden", b"$(id)", b"*", b"percent%s", b".wh.not-a-whiteout",
)  # fmt: skip


@dataclass(frozen=True)
class Node:
    """One entry of a tree; `path` is relative, in bytes. Parents come before what they hold."""

    path: bytes
    kind: str = "file"  # file dir symlink hardlink fifo socket device
    content: bytes = b""
    #: Where pieces of a sparse file are: (offset, bytes); `size` is then the size of the whole.
    pieces: tuple[tuple[int, bytes], ...] = ()
    size: int = 0
    target: bytes = b""
    mode: int = 0o644
    owner: tuple[int, int] = (0, 0)
    mtime_ns: int = 1_600_000_000_123_456_789
    xattrs: tuple[tuple[str, bytes], ...] = ()
    device: tuple[int, int] = (1, 3)


def plant(root: Path, nodes: Iterable[Node]) -> None:
    """Make the nodes below `root`, which exists."""
    base = os.fsencode(root)
    made = list(nodes)
    for node in made:
        path = os.path.join(base, node.path) if node.path else base
        match node.kind:
            case "dir":
                if node.path:
                    os.mkdir(path)
            case "symlink":
                os.symlink(node.target, path)
            case "hardlink":
                os.link(os.path.join(base, node.target), path, follow_symlinks=False)
                continue
            case "fifo":
                os.mkfifo(path)
            case "socket":
                _socket(path)
            case "device":
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*node.device))
            case _:
                _file(path, node)
        os.chown(path, *node.owner, follow_symlinks=False)
        if node.kind != "symlink":
            os.chmod(path, node.mode)
        for key, value in node.xattrs:
            os.setxattr(path, key, value, follow_symlinks=False)
    for node in reversed(made):  # last, and from below: making entries changes the times of what is above
        if node.kind != "hardlink":
            path = os.path.join(base, node.path) if node.path else base
            os.utime(path, ns=(node.mtime_ns, node.mtime_ns), follow_symlinks=False)


def _socket(path: bytes) -> None:
    here = os.open(os.path.dirname(path), os.O_PATH)  # the address of a socket has 108 bytes
    try:
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as sock:
            sock.bind(b"/proc/self/fd/%d/%b" % (here, os.path.basename(path)))
    finally:
        os.close(here)


def _file(path: bytes, node: Node) -> None:
    with open(path, "wb") as out:
        out.write(node.content)
        for offset, piece in node.pieces:
            out.seek(offset)
            out.write(piece)
        if node.size:
            out.truncate(node.size)


@dataclass(frozen=True)
class Seen:
    """What `look` saw of one entry."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime_ns: int
    size: int = 0
    digest: str = ""
    target: bytes = b""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    #: The other names of the same file.
    twins: tuple[bytes, ...] = ()
    #: Whether it has holes worth keeping.
    sparse: bool = False


def look(root: Path | str | bytes) -> dict[bytes, Seen]:
    """Read a tree; ``b""`` is its root."""
    base = os.fsencode(root)
    found: dict[bytes, os.stat_result] = {b"": os.lstat(base)}
    for top, names, files in os.walk(base):
        for name in (*names, *files):
            path = os.path.join(top, name)
            found[os.path.relpath(path, base)] = os.lstat(path)
    inodes: dict[int, list[bytes]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            inodes.setdefault(status.st_ino, []).append(path)
    return {path: _seen(os.path.join(base, path) if path else base, path, status, inodes.get(status.st_ino, []))
            for path, status in found.items()}  # fmt: skip


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
          stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "block device"}  # fmt: skip


def _seen(where: bytes, path: bytes, status: os.stat_result, names: Sequence[bytes]) -> Seen:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    digest = ""
    if kind == "file":
        with open(where, "rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
    return Seen(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        mtime_ns=status.st_mtime_ns,
        size=status.st_size if kind == "file" else 0,
        digest=digest,
        target=os.readlink(where) if kind == "symlink" else b"",
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if "device" in kind else (0, 0),
        xattrs=tuple(sorted((key, os.getxattr(where, key, follow_symlinks=False))
                            for key in os.listxattr(where, follow_symlinks=False))),
        twins=tuple(sorted(name for name in names if name != path)),
        sparse=kind == "file" and status.st_size - status.st_blocks * 512 >= 64 * 1024,
    )  # fmt: skip


def difference(before: Mapping[bytes, Seen], after: Mapping[bytes, Seen], *, but: Iterable[str] = ()) -> list[str]:
    """Say what two looks disagree about, one line each; empty if nothing. `but` names fields that may differ."""
    told = [f"missing: {path!r} ({before[path].kind})" for path in sorted(before.keys() - after.keys())]
    told += [f"not there before: {path!r} ({after[path].kind})" for path in sorted(after.keys() - before.keys())]
    fields = [name for name in Seen.__dataclass_fields__ if name not in set(but)]
    for path in sorted(before.keys() & after.keys()):
        one, other = before[path], after[path]
        told += [f"{path!r}: {name} was {getattr(one, name)!r}, is {getattr(other, name)!r}"
                 for name in fields if getattr(one, name) != getattr(other, name)]  # fmt: skip
    return told


def without_sockets(seen: Mapping[bytes, Seen]) -> dict[bytes, Seen]:
    """Leave out what no archive holds."""
    return {path: one for path, one in seen.items() if one.kind != "socket"}


# --- trees ----------------------------------------------------------------------------------------------------------

#: ``user:1000:rw-`` on top of rw-r-----, as the kernel keeps it (linux/posix_acl_xattr.h).
ACL = (b"\x02\0\0\0" b"\x01\0\x06\0\xff\xff\xff\xff" b"\x02\0\x06\0\xe8\x03\0\0" b"\x04\0\x04\0\xff\xff\xff\xff"
       b"\x10\0\x06\0\xff\xff\xff\xff" b"\x20\0\0\0\xff\xff\xff\xff")  # fmt: skip
#: ``cap_net_raw=ep`` (linux/capability.h, revision 2).
CAPABILITY = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0"


def rich(*, devices: bool = True, attributes: bool = True) -> tuple[Node, ...]:
    """Return one of everything; `attributes` and `devices` need a file system and rights for them."""
    nodes = [
        Node(b"", "dir", mode=0o2771, owner=(70, 71), mtime_ns=1_111_111_111_000_000_001),
        Node(b"empty", owner=(1000, 1001), mode=0o600),
        Node(b"plain", content=b"content\n" * 1000, owner=(999, 999), mode=0o640),
        Node(b"suid", content=b"\x7fELF", mode=0o4755),
        Node(b"old", content=b"x", mtime_ns=86_400_000_000_000),
        Node(b"before-1970", content=b"x", mtime_ns=-1_000_000_000),
        Node(b"big", content=random.Random(7).randbytes(3_000_000)),
        Node(b"huge-owner", content=b"x", owner=(4_000_000_000, 3_999_999_999)),
        Node(b"holes", pieces=((1 << 20, b"middle" * 1000), (9 << 20, b"end")), size=12 << 20),
        Node(b"all-hole", size=5 << 20),
        Node(b"dir", "dir", mode=0o1777),
        Node(b"dir/sub", "dir", mode=0o700, owner=(5, 6)),
        Node(b"dir/sub/unreadable", content=b"secret", mode=0),
        Node(b"twin", "hardlink", target=b"plain"),
        Node(b"dir/triplet", "hardlink", target=b"plain"),
        Node(b"link", "symlink", target=b"dir/sub/unreadable", mode=0o777, owner=(8, 9)),
        Node(b"dangling", "symlink", target=b"/no/where/at/all"),
        Node(b"up", "symlink", target=b"../../../etc/passwd"),
        Node(b"long-link", "symlink", target=b"d/" * 200 + b"end"),
        Node(b"pipe", "fifo", mode=0o622, owner=(3, 4)),
        Node(b"socket", "socket", mode=0o755),
    ]
    deep = b""
    for _ in range(20):
        deep += (b"/" if deep else b"") + b"deep-directory"
        nodes.append(Node(deep, "dir", mode=0o755))
    nodes.append(Node(deep + b"/bottom", content=b"far down"))
    nodes.append(Node(b"odd", "dir", mode=0o755))
    nodes += [Node(b"odd/" + name, content=name, mode=0o644) for name in ODD_NAMES]
    if devices:
        nodes.append(Node(b"null", "device", mode=0o666, device=(1, 3)))
    if attributes:
        nodes += [
            Node(b"attributes", content=b"x", xattrs=(("user.one", b"1"), ("user.binary", bytes(range(256))),
                                                      ("user.empty", b""))),
            Node(b"acl", content=b"x", mode=0o660, xattrs=(("system.posix_acl_access", ACL),)),
            Node(b"acl-dir", "dir", mode=0o755, xattrs=(("system.posix_acl_default", ACL),)),
            Node(b"capable", content=b"x", mode=0o755, xattrs=(("security.capability", CAPABILITY),)),
        ]  # fmt: skip
    return tuple(nodes)


def many(root: Path, *, files: int, size: int, seed: int = 1, per_directory: int = 100) -> None:
    """Make many small files below `root`: half of each is text that packs, half is noise."""
    rng = random.Random(seed)
    text = b"the quick brown fox jumps over the lazy dog and %d\n"
    for number in range(files):
        directory = root / f"{number // per_directory:05}"
        if number % per_directory == 0:
            directory.mkdir(parents=True, exist_ok=True)
        half = size // 2
        body = (text % number) * (half // len(text) + 1)
        (directory / f"file-{number:06}").write_bytes(body[:half] + rng.randbytes(size - half))


_NAMES = st.one_of(
    st.sampled_from(ODD_NAMES),
    st.binary(min_size=1, max_size=24).filter(lambda name: not set(name) & {0, 0x2F} and name not in (b".", b"..")),
    st.text("abcé .-", min_size=1, max_size=12).map(str.encode).filter(lambda name: name not in (b".", b"..")),
)
_TIMES = st.one_of(st.just(1_700_000_000_000_000_000), st.integers(-(10**18), 4 * 10**18))
_OWNERS = st.tuples(st.sampled_from((0, 1, 999, 65_534, 2_000_000)), st.sampled_from((0, 7, 65_535, 3_000_000_000)))


@dataclass
class _Grown:
    nodes: list[Node] = field(default_factory=list)
    directories: list[bytes] = field(default_factory=lambda: [b""])
    files: list[bytes] = field(default_factory=list)
    taken: set[bytes] = field(default_factory=set)


@st.composite
def trees(draw: st.DrawFn, *, most: int = 20) -> tuple[Node, ...]:
    """Draw a tree of up to `most` entries without devices, sockets and attributes that need special file systems."""
    grown = _Grown()
    grown.nodes.append(Node(b"", "dir", mode=0o755 | draw(st.sampled_from((0, 0o1000, 0o2000)))))
    for _ in range(draw(st.integers(0, most))):
        parent = draw(st.sampled_from(grown.directories))
        path = (parent + b"/" if parent else b"") + draw(_NAMES)
        if path in grown.taken or len(path) > 1500:
            continue
        grown.taken.add(path)
        kind = draw(st.sampled_from(("file", "file", "dir", "symlink", "hardlink", "fifo", "sparse")))
        grown.nodes.append(_drawn(draw, path, kind, grown))
    return tuple(grown.nodes)


def _drawn(draw: st.DrawFn, path: bytes, kind: str, grown: _Grown) -> Node:
    mode = draw(st.integers(0, 0o7777))
    owner, mtime_ns = draw(_OWNERS), draw(_TIMES)
    if kind == "hardlink" and grown.files:
        return Node(path, "hardlink", target=draw(st.sampled_from(grown.files)))
    if kind == "symlink":
        target = draw(st.one_of(_NAMES, st.sampled_from((b"/etc", b"../..", b"/", b"."))))
        return Node(path, "symlink", target=target, owner=owner, mtime_ns=mtime_ns, mode=0o777)
    if kind == "dir":
        grown.directories.append(path)
        return Node(path, "dir", mode=mode, owner=owner, mtime_ns=mtime_ns)
    if kind == "fifo":
        return Node(path, "fifo", mode=mode, owner=owner, mtime_ns=mtime_ns)
    grown.files.append(path)
    if kind == "sparse":
        offset = draw(st.integers(0, 64)) * 65_536
        return Node(path, pieces=((offset, b"piece"),), size=offset + draw(st.integers(5, 1 << 20)),
                    mode=mode, owner=owner, mtime_ns=mtime_ns)  # fmt: skip
    return Node(path, content=draw(st.binary(max_size=3000)), mode=mode, owner=owner, mtime_ns=mtime_ns)
