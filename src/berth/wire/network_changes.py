"""What Docker has no words for: changes of a network that is in use. Must not decide anything."""

import msgspec

Struct = msgspec.Struct
field = msgspec.field


class NetworkUpdate(Struct, frozen=True):
    """Body of ``POST /berth/networks/{id}/update``; what is null stays as it is."""

    labels_add: dict[str, str] | None = field(name="LabelsAdd", default=None)
    labels_remove: list[str] | None = field(name="LabelsRemove", default=None)
    internal: bool | None = field(name="Internal", default=None)
    attachable: bool | None = field(name="Attachable", default=None)
    #: Bytes; 0 is the kernel's own.
    mtu: int | None = field(name="MTU", default=None)
    icc: bool | None = field(name="ICC", default=None)
    #: What may leave: ``allow`` or ``deny``, and what is let out all the same.
    egress: str | None = field(name="Egress", default=None)
    allow: list[str] | None = field(name="Allow", default=None)
    #: Name servers of the network; an empty list takes them away.
    dns: list[str] | None = field(name="DNS", default=None)
    #: The subnet instead of the one of its family, and its gateway.
    subnet: str | None = field(name="Subnet", default=None)
    gateway: str | None = field(name="Gateway", default=None)
    #: Subnets of a family that the network has not yet.
    subnets_add: list[str] | None = field(name="SubnetsAdd", default=None)
