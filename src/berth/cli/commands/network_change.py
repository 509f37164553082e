"""`berth network update` and `rename`: change a network that is in use."""

from __future__ import annotations

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.pairs import check_label, pairs
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session


def body_of(parsed: Parsed) -> dict[str, Any]:
    """Return what is to be changed, and nothing else."""
    body: dict[str, Any] = {}
    if parsed.list("label-add"):
        body["LabelsAdd"] = pairs(parsed.list("label-add"))
    if parsed.list("label-rm"):
        body["LabelsRemove"] = parsed.list("label-rm")
    for flag, key in (("internal", "Internal"), ("attachable", "Attachable"), ("icc", "ICC")):
        if parsed.given(flag):
            body[key] = parsed.flag(flag)
    if parsed.given("mtu"):
        body["MTU"] = parsed.number("mtu")
    if parsed.text("egress"):
        body["Egress"] = parsed.text("egress")
    if parsed.given("allow"):
        body["Allow"] = [entry for entry in parsed.list("allow") if entry]
    if parsed.given("dns"):
        body["DNS"] = [server for server in parsed.list("dns") if server]
    for flag, key in (("subnet", "Subnet"), ("gateway", "Gateway")):
        if parsed.text(flag):
            body[key] = parsed.text(flag)
    if parsed.list("subnet-add"):
        body["SubnetsAdd"] = parsed.list("subnet-add")
    return body


def _update(session: Session, parsed: Parsed) -> int:
    body = body_of(parsed)
    if not body:
        raise CommandFailed("you must provide one or more flags when using this command")
    return session.each(
        parsed.args, lambda name: session.client.post(f"/berth/networks/{part(name)}/update", None, body)
    )


def _rename(session: Session, parsed: Parsed) -> None:
    old, new = parsed.args
    session.client.post(f"/berth/networks/{part(old)}/rename", {"name": new})


UPDATE = Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    _update,
    (
        Flag("label-add", "", "list", "Add or change a label", check=check_label),
        Flag("label-rm", "", "list", "Remove a label"),
        Flag("internal", "", "bool", "Restrict external access to the network, or no more (--internal=false)"),
        Flag("attachable", "", "bool", "Enable manual container attachment, or no more"),
        Flag("mtu", "", "int", "MTU of the network's links (0 is the kernel's own)"),
        Flag("icc", "", "bool", "Let its containers reach each other, or no more (--icc=false)"),
        Flag("egress", "", "string", 'What may leave the network: "allow" (all) or "deny" (only what --allow names)'),
        Flag("allow", "", "strings", 'Let out to ADDRESS[/PREFIX][:PORT[-PORT]][/tcp|/udp], with "--egress deny"'),
        Flag("dns", "", "strings", "Name servers of the network; --dns= takes them away"),
        Flag("subnet", "", "string", "Move the network, and its running containers, to another subnet"),
        Flag("gateway", "", "string", "Gateway in the new subnet"),
        Flag("subnet-add", "", "strings", "Add a subnet of a family the network has not yet (IPv6)"),
    ),
    least=1,
    most=None,
    long="Change a network while containers are on it: they stay connected and follow, all or nothing.",
)

RENAME = Command("NETWORK NEW_NAME", _rename, least=2, most=2, long="Rename a network; its containers follow.")
