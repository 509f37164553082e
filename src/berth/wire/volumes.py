"""Volumes and mounts as the Docker Engine API writes them. Pure."""

import msgspec


class VolumeCreate(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /volumes/create``."""

    name: str | None = msgspec.field(name="Name", default=None)
    driver: str | None = msgspec.field(name="Driver", default=None)
    driver_opts: dict[str, str] | None = msgspec.field(name="DriverOpts", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    cluster_spec: dict[str, object] | None = msgspec.field(name="ClusterVolumeSpec", default=None)


class IDMapping(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.BindOptions.IDMapping``, a draft of API 1.56: whose the files of a mount seem to be."""

    source: str | None = msgspec.field(name="Source", default=None)
    user: str | None = msgspec.field(name="User", default=None)


class BindOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.BindOptions``."""

    propagation: str | None = msgspec.field(name="Propagation", default=None)
    non_recursive: bool | None = msgspec.field(name="NonRecursive", default=None)
    create_mountpoint: bool | None = msgspec.field(name="CreateMountpoint", default=None)
    read_only_non_recursive: bool | None = msgspec.field(name="ReadOnlyNonRecursive", default=None)
    read_only_force_recursive: bool | None = msgspec.field(name="ReadOnlyForceRecursive", default=None)
    id_mapping: IDMapping | None = msgspec.field(name="IDMapping", default=None)


class DriverConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.VolumeOptions.DriverConfig``."""

    name: str | None = msgspec.field(name="Name", default=None)
    options: dict[str, str] | None = msgspec.field(name="Options", default=None)


class VolumeOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.VolumeOptions``."""

    no_copy: bool | None = msgspec.field(name="NoCopy", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    subpath: str | None = msgspec.field(name="Subpath", default=None)
    driver_config: DriverConfig | None = msgspec.field(name="DriverConfig", default=None)


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.ImageOptions``."""

    subpath: str | None = msgspec.field(name="Subpath", default=None)


class TmpfsOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Mount.TmpfsOptions``; the mode is a plain number of which the octal form is meant."""

    size_bytes: int | None = msgspec.field(name="SizeBytes", default=None)
    mode: int | None = msgspec.field(name="Mode", default=None)
    options: list[list[str]] | None = msgspec.field(name="Options", default=None)


class Mount(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of ``HostConfig.Mounts``: what ``--mount`` asks for."""

    type: str | None = msgspec.field(name="Type", default=None)
    source: str | None = msgspec.field(name="Source", default=None)
    target: str | None = msgspec.field(name="Target", default=None)
    read_only: bool | None = msgspec.field(name="ReadOnly", default=None)
    consistency: str | None = msgspec.field(name="Consistency", default=None)
    bind_options: BindOptions | None = msgspec.field(name="BindOptions", default=None)
    volume_options: VolumeOptions | None = msgspec.field(name="VolumeOptions", default=None)
    image_options: ImageOptions | None = msgspec.field(name="ImageOptions", default=None)
    tmpfs_options: TmpfsOptions | None = msgspec.field(name="TmpfsOptions", default=None)
    #: Ours: what is mounted is made to belong to the container's user, as ``-v …:U`` does.
    chown: bool | None = msgspec.field(name="Chown", default=None)


class MountsUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /berth/containers/{id}/mounts``: what goes, by target, and what comes; both is a replacement."""

    add: list[Mount] | None = msgspec.field(name="Add", default=None)
    remove: list[str] | None = msgspec.field(name="Remove", default=None)
