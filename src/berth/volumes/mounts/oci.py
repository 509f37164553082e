"""A mount point as the OCI runtime gets it. Pure."""

from berth.volumes.mounts.model import MountPoint, MountType, OciMount
from berth.volumes.mounts.parse import DEFAULT_PROPAGATION


def render(point: MountPoint, source: str, *, has_submounts: bool = False) -> OciMount:
    """Render `point` with `source`, the path on this host that is mounted in the end.

    Read-only reaches what is mounted below the source (``rro``) only where there is something: older runtimes
    do not know the word.
    """
    if point.type is MountType.TMPFS:
        return OciMount(point.target, "tmpfs", "tmpfs", (*point.tmpfs_options, DEFAULT_PROPAGATION))
    options = ["rbind" if point.recursive else "bind"]
    # Never "rw": that would make a source writable which is mounted read-only on the host.
    if not point.rw:
        options.append("ro")
        if point.recursive and has_submounts and point.read_only_recursive != "off":
            options.append("rro")
    propagation = point.propagation or DEFAULT_PROPAGATION
    # The r of "rprivate" makes some runtimes (crun 1.8) bind what lies below, too.
    options.append(propagation if point.recursive else propagation.removeprefix("r"))
    return OciMount(point.target, source, "bind", tuple(options))
