"""Images in the Engine API and in image configurations, which share their shapes. Pure.

An image's ``config`` object (OCI image-spec ``config.md`` and Docker's additions) has the same field names as
the API's ``Config``, so one struct serves both.
"""

from typing import Any

import msgspec

from berth.wire.containers import Healthcheck

#: A set of names, as Go marshals one: ``{"80/tcp": {}}``.
Names = dict[str, dict[str, Any]]


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What containers inherit from their image; nothing is null (decode with `berth.wire.containers.decode`)."""

    user: str = msgspec.field(default="", name="User")
    exposed_ports: Names = msgspec.field(default_factory=dict, name="ExposedPorts")
    env: tuple[str, ...] = msgspec.field(default=(), name="Env")
    entrypoint: tuple[str, ...] = msgspec.field(default=(), name="Entrypoint")
    cmd: tuple[str, ...] = msgspec.field(default=(), name="Cmd")
    volumes: Names = msgspec.field(default_factory=dict, name="Volumes")
    working_dir: str = msgspec.field(default="", name="WorkingDir")
    labels: dict[str, str] = msgspec.field(default_factory=dict, name="Labels")
    stop_signal: str = msgspec.field(default="", name="StopSignal")
    healthcheck: Healthcheck | None = msgspec.field(default=None, name="Healthcheck")
    shell: tuple[str, ...] = msgspec.field(default=(), name="Shell")
    on_build: tuple[str, ...] = msgspec.field(default=(), name="OnBuild")
    args_escaped: bool = msgspec.field(default=False, name="ArgsEscaped")


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one layer, or one change without a layer, came to be; fields as in the image configuration."""

    created: str | None = None
    created_by: str | None = None
    author: str | None = None
    comment: str | None = None
    empty_layer: bool = False


class RootFs(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an image by the digests of their unpacked tar streams, bottom first."""

    type: str = "layers"
    diff_ids: list[str] | None = None


class ImageFile(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration blob of an image: its digest is the image's identifier."""

    created: str | None = None
    author: str | None = None
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    comment: str | None = None
    docker_version: str | None = None
    config: msgspec.Raw = msgspec.Raw(b"{}")
    rootfs: RootFs = RootFs()
    history: list[HistoryEntry] | None = None


class AuthConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials for one registry: body of ``POST /auth`` and, base64url encoded, ``X-Registry-Auth``."""

    username: str | None = None
    password: str | None = None
    auth: str | None = None
    email: str | None = None
    serveraddress: str | None = None
    identitytoken: str | None = None
    registrytoken: str | None = None
