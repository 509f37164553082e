"""Kinds of file systems, by the kernel's names. Pure."""

from typing import Final

#: Types whose server may be gone while they are mounted: then a call on them may never return. An automounter's
#: directory belongs to them, because a look at it mounts what it is told to.
_SERVED: Final = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "autofs", "coda", "lustre", "beegfs",
    "gpfs", "orangefs", "ncpfs", "gfs2", "ocfs2",
})  # fmt: skip


def may_hang(fstype: str) -> bool:
    """Tell whether calls on a file system of this type wait for another machine or another process."""
    return fstype in _SERVED or fstype.startswith("fuse")
