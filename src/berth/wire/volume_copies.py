"""Clones and snapshots of volumes, which Docker has not, as ``/berth/volumes/…`` writes them. Pure."""

import msgspec


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Body of ``POST /berth/volumes/{name}/clone`` and ``/snapshots``: a name, and how still users hold."""

    name: str = msgspec.field(name="Name", default="")
    consistency: str = msgspec.field(name="Consistency", default="")
    pre: str = msgspec.field(name="Pre", default="")
    post: str = msgspec.field(name="Post", default="")
    hook_timeout: int = msgspec.field(name="HookTimeout", default=0)
