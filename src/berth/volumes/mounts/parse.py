"""What a user asked for — ``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from`` — as mount points. Pure.

Existence of sources is not looked at here, and volumes get neither a generated name nor a source: `service` does both.
Facts about grammar and words: moby, volume/mounts/linux_parser.go and parser.go.
"""

import posixpath
from collections.abc import Sequence
from typing import Final

import msgspec

from berth.base.errors import InvalidArgument
from berth.volumes.errors import BadMode, BadMount, BadTarget, BadTmpfsOption, BadVolumeSpec
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.options import FLAGS
from berth.wire.volumes import BindOptions, IDMapping, Mount, TmpfsOptions

PROPAGATIONS: Final = frozenset({"private", "rprivate", "slave", "rslave", "shared", "rshared"})
DEFAULT_PROPAGATION: Final = "rprivate"

#: Words of a mode; of each class at most one.
_MODE_CLASSES: Final = (
    frozenset({"rw", "ro"}),
    frozenset({"z", "Z"}),
    PROPAGATIONS,
    frozenset({"nocopy"}),
    frozenset({"consistent", "cached", "delegated"}),
    frozenset({"U"}),
)
_KEYED_TMPFS: Final = frozenset({"mode", "uid", "gid", "size", "nr_inodes", "nr_blocks", "mpol"})
_TMPFS_DEFAULTS: Final = ("noexec", "nosuid", "nodev")


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A mount point as asked for, with what only its volume's creation needs."""

    point: MountPoint
    labels: dict[str, str] | None = None
    driver_opts: dict[str, str] | None = None
    #: The propagation is the user's, not the default.
    propagation_stated: bool = False


def parse_bind(raw: str, volume_driver: str = "") -> Asked:
    """Parse one of ``HostConfig.Binds``. Raises `BadVolumeSpec` or `BadMode`."""
    parts = raw.split(":")
    source = mode = ""
    if len(parts) == 1:
        target = parts[0]
    elif len(parts) == 2 and not _is_mode(parts[1]):
        source, target = parts
    elif len(parts) == 3:
        source, target, mode = parts
    else:
        raise BadVolumeSpec(raw)
    if not parts[0] or "\0" in raw:
        raise BadVolumeSpec(raw)
    words = _mode_words(mode)
    kind = MountType.BIND if source.startswith("/") else MountType.VOLUME
    try:
        if kind is MountType.BIND and "nocopy" in words:
            raise BadMount("bind", "field VolumeOptions must not be specified")
        if kind is MountType.VOLUME and words & PROPAGATIONS:
            raise BadMount("volume", "field BindOptions must not be specified")
        place = _mount_target(kind.value, target)
        if kind is MountType.VOLUME and not source and "ro" in words:
            raise BadMount("volume", "must not set ReadOnly mode when using anonymous volumes")
    except BadMount as exc:
        raise BadVolumeSpec(raw, str(exc)) from None
    if kind is MountType.BIND:
        point = MountPoint(
            type=kind, target=place, source=_clean(source), mode=mode, rw="ro" not in words,
            propagation=next(iter(words & PROPAGATIONS), DEFAULT_PROPAGATION), create_source=True, chown="U" in words,
        )  # fmt: skip
        return Asked(point=point, propagation_stated=bool(words & PROPAGATIONS))
    point = MountPoint(
        type=kind, target=place, name=source, mode=mode or "z", rw="ro" not in words,
        driver=volume_driver, copy_up="nocopy" not in words, chown="U" in words,
    )  # fmt: skip
    return Asked(point=point)


def near_root(asked: Asked, data_root: str) -> Asked:
    """Let a bind mount that holds the engine's own directory, or lies in it, follow what is unmounted there.

    Otherwise a container would keep the root file systems of others busy. Raises `BadMount` for a propagation
    that forbids it.
    """
    point = asked.point
    if point.type is not MountType.BIND or not (_holds(point.source, data_root) or _holds(data_root, point.source)):
        return asked
    if point.propagation in ("rslave", "rshared"):
        return asked
    if asked.propagation_stated:
        raise BadMount(
            "bind",
            'must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root, '
            f'daemon root: "{data_root}", bind mount source: "{point.source}", propagation: "{point.propagation}"',
        )
    softer = msgspec.structs.replace(point, propagation="rslave", propagation_wanted=False)
    return msgspec.structs.replace(asked, point=softer)


def _holds(outer: str, inner: str) -> bool:
    return inner == outer or inner.startswith(outer.rstrip("/") + "/")


def parse_config_volume(target: str, volume_driver: str = "") -> Asked:
    """Take one of ``Config.Volumes``: an anonymous volume. Raises `BadTarget`."""
    point = MountPoint(type=MountType.VOLUME, target=check_target(target), driver=volume_driver, copy_up=True)
    return Asked(point=point)


def parse_mount(mount: Mount) -> Asked:
    """Check and take one of ``HostConfig.Mounts``. Raises `BadMount`."""
    kind = mount.type or ""
    if kind not in ("bind", "volume", "tmpfs", "image"):
        raise BadMount(kind, "mount type unknown")
    target = _mount_target(kind, mount.target or "")
    foreign = {
        "bind": ("volume_options", "image_options", "tmpfs_options"),
        "volume": ("bind_options", "image_options", "tmpfs_options"),
        "tmpfs": ("bind_options", "image_options", "volume_options"),
        "image": ("bind_options", "tmpfs_options", "volume_options"),
    }[kind]
    for field in foreign:
        if getattr(mount, field) is not None:
            spelt = "".join(word.capitalize() for word in field.split("_"))
            raise BadMount(kind, f"field {spelt} must not be specified")
    if "\0" in (mount.source or ""):
        raise BadMount(kind, "Source contains a NUL character")
    if mount.chown and kind not in ("bind", "volume"):
        raise BadMount(kind, "field Chown must not be specified")
    if kind == "bind":
        return _bind_mount(mount, target)
    if kind == "volume":
        return _volume_mount(mount, target)
    if kind == "tmpfs":
        return _tmpfs_mount(mount, target)
    return _image_mount(mount, target)


def _image_mount(mount: Mount, target: str) -> Asked:
    if not mount.source:
        raise BadMount("image", "field Source must not be empty")
    subpath = (mount.image_options.subpath if mount.image_options else "") or ""
    subpath = check_subpath(subpath, "image") if subpath else ""
    point = MountPoint(type=MountType.IMAGE, target=target, name=mount.source, rw=False, subpath=subpath)
    return Asked(point=point)


def _bind_mount(mount: Mount, target: str) -> Asked:
    if not mount.source:
        raise BadMount("bind", "field Source must not be empty")
    if not mount.source.startswith("/"):
        raise BadMount("bind", f"invalid mount path: '{mount.source}' mount path must be absolute")
    options = mount.bind_options
    propagation = (options.propagation if options else "") or DEFAULT_PROPAGATION
    if propagation not in PROPAGATIONS:
        raise BadMount("bind", f"invalid propagation mode: {propagation}")
    mapping = _id_mapping(options, propagation, chown=bool(mount.chown))
    rw = not mount.read_only
    depth = "enabled"
    if options is not None and options.read_only_force_recursive:
        depth = "required"
        if rw:
            raise BadMount("bind", "ReadOnlyForceRecursive needs the mount to be read-only")
        if propagation != DEFAULT_PROPAGATION:
            raise BadMount("bind", "ReadOnlyForceRecursive needs the propagation rprivate")
        if options.read_only_non_recursive:
            raise BadMount("bind", "ReadOnlyForceRecursive and ReadOnlyNonRecursive exclude each other")
    elif options is not None and options.read_only_non_recursive:
        depth = "off"
    point = MountPoint(
        type=MountType.BIND, target=target, source=_clean(mount.source), rw=rw, propagation=propagation,
        recursive=not (options and options.non_recursive), read_only_recursive=depth,
        create_source=bool(options and options.create_mountpoint), chown=bool(mount.chown),
        mapped=mapping is not None, mapped_user=(mapping.user if mapping else "") or "",
    )  # fmt: skip
    return Asked(point=point, propagation_stated=bool(options and options.propagation))


def _id_mapping(options: BindOptions | None, propagation: str, *, chown: bool) -> IDMapping | None:
    mapping = options.id_mapping if options else None
    if mapping is None:
        return None
    if mapping.source == "userns":
        raise BadMount("bind", 'IDMapping "userns" needs a container with a user namespace of its own: there are none')
    if mapping.source != "match-user":
        raise BadMount("bind", f"invalid IDMapping source: {mapping.source or ''} (must be match-user or userns)")
    if "\0" in (mapping.user or ""):
        raise BadMount("bind", "IDMapping user contains a NUL character")
    if propagation not in ("private", "rprivate"):
        raise BadMount("bind", f"IDMapping needs the propagation private or rprivate, not {propagation}")
    if chown:
        raise BadMount(
            "bind", "IDMapping and Chown exclude each other: one shows other owners, the other makes them so"
        )
    return mapping


def _volume_mount(mount: Mount, target: str) -> Asked:
    options = mount.volume_options
    config = options.driver_config if options else None
    subpath = (options.subpath if options else "") or ""
    if not mount.source and mount.read_only:
        raise BadMount("volume", "must not set ReadOnly mode when using anonymous volumes")
    if subpath:
        if not mount.source:
            raise BadMount("volume", "must not set Subpath when using anonymous volumes")
        check_subpath(subpath)
    no_copy = bool(options and options.no_copy) or bool(subpath)
    point = MountPoint(
        type=MountType.VOLUME, target=target, name=mount.source or "", mode="z", rw=not mount.read_only,
        driver=(config.name if config else "") or "", copy_up=not no_copy, subpath=subpath, chown=bool(mount.chown),
    )  # fmt: skip
    return Asked(
        point=point,
        labels=options.labels if options else None,
        driver_opts=config.options if config else None,
    )


def _tmpfs_mount(mount: Mount, target: str) -> Asked:
    if mount.source:
        raise BadMount("tmpfs", "field Source must not be specified")
    words = _tmpfs_words(mount.tmpfs_options)
    if mount.read_only:
        words.append("ro")
    point = MountPoint(
        type=MountType.TMPFS, target=target, rw=not mount.read_only, tmpfs_options=merge_tmpfs_options(words)
    )
    return Asked(point=point)


def _tmpfs_words(options: TmpfsOptions | None) -> list[str]:
    words: list[str] = []
    if options is None:
        return words
    if options.size_bytes:
        if options.size_bytes < 0:
            raise BadMount("tmpfs", "SizeBytes must not be negative")
        words.append(f"size={options.size_bytes}")
    if options.mode:
        words.append(f"mode={options.mode:o}")
    for one in options.options or ():
        if one not in (["exec"], ["noexec"]):
            raise BadMount("tmpfs", f'invalid option: "{"=".join(one)}"')
        words.append(one[0])
    return words


def parse_tmpfs(target: str, options: str) -> Asked:
    """Take one entry of ``HostConfig.Tmpfs``. Raises `BadTarget` or `BadTmpfsOption`."""
    words = [word for word in options.split(",") if word]
    point = MountPoint(
        type=MountType.TMPFS, target=check_target(target), rw="ro" not in words,
        tmpfs_options=merge_tmpfs_options(words), listed=False,
    )  # fmt: skip
    return Asked(point=point)


def merge_tmpfs_options(words: Sequence[str]) -> tuple[str, ...]:
    """Add a tmpfs's default options to `words`; of words about one thing the last wins. Raises `BadTmpfsOption`."""
    unknown = [word for word in words if not _known_tmpfs(word)]
    if unknown:
        raise BadTmpfsOption(unknown)
    chosen: dict[str, str] = {}
    for word in (*_TMPFS_DEFAULTS, *words):
        if word == "defaults":
            continue
        key = word.partition("=")[0]
        about = f"bit {FLAGS[key][0]}" if key in FLAGS else key
        chosen.pop(about, None)
        chosen[about] = word
    return tuple(chosen.values())


def _known_tmpfs(word: str) -> bool:
    key, equals, value = word.partition("=")
    return (not equals and key in FLAGS) or (bool(equals) and key in _KEYED_TMPFS and value.isprintable())


def parse_volumes_from(spec: str) -> tuple[str, str]:
    """Split ``CONTAINER[:MODE]``; the mode is ``rw`` if unsaid. Raises `BadMode`."""
    if not spec:
        raise InvalidArgument("volumes-from specification cannot be an empty string")
    container, colon, mode = spec.partition(":")
    if not colon:
        return container, "rw"
    words = _mode_words(mode)
    if not mode or words & PROPAGATIONS or words & {"nocopy", "U"}:
        raise BadMode(mode)
    return container, mode


def inherit(points: Sequence[MountPoint], mode: str) -> tuple[MountPoint, ...]:
    """Return another container's mount points as ``--volumes-from`` hands them on: nothing is copied up again."""
    read_only = "ro" in mode.split(",")
    return tuple(
        msgspec.structs.replace(
            point, mode="" if mode == "rw" else mode, rw=point.rw and not read_only, copy_up=False, chown=False
        )
        for point in points
        if point.listed and point.type is not MountType.TMPFS
    )


def check_target(target: str) -> str:
    """Return a mount target in its shortest form. Raises `BadTarget`."""
    if "\0" in target:
        raise BadTarget(f"invalid mount path: {target!r} contains a NUL character")
    if _clean(target) == "/":
        raise BadTarget("invalid specification: destination can't be '/'")
    if not target.startswith("/"):
        raise BadTarget(f"invalid mount path: '{target}' mount path must be absolute")
    return _clean(target)


def check_subpath(subpath: str, kind: str = "volume") -> str:
    """Return a subpath of a volume or image in its shortest form. Raises `BadMount`."""
    clean = posixpath.normpath(subpath)
    if subpath.startswith("/") or clean == ".." or clean.startswith("../") or "\0" in subpath:
        raise BadMount(kind, f"subpath must be a relative path within the {kind}")
    return clean


def _mount_target(kind: str, target: str) -> str:
    if not target:
        raise BadMount(kind, "field Target must not be empty")
    try:
        return check_target(target)
    except BadTarget as exc:
        raise BadMount(kind, str(exc)) from None


def _clean(path: str) -> str:
    # POSIX lets two leading slashes stand for something else; Linux does not.
    return posixpath.normpath("/" + path.lstrip("/")) if path.startswith("/") else posixpath.normpath(path)


def _is_mode(text: str) -> bool:
    try:
        return bool(_mode_words(text)) or not text
    except BadMode:
        return False


def _mode_words(mode: str) -> frozenset[str]:
    if not mode:
        return frozenset()
    words = mode.split(",")
    for group in _MODE_CLASSES:
        if sum(word in group for word in words) > 1:
            raise BadMode(mode)
    if not all(any(word in group for group in _MODE_CLASSES) for word in words):
        raise BadMode(mode)
    return frozenset(words)
