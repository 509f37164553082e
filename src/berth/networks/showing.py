"""What networks and containers on them look like in the API. Reads only."""

import re
from collections.abc import Sequence
from typing import Any, Final

from berth.networks import render
from berth.networks.errors import NetworkNotFound
from berth.networks.model import PREDEFINED, LiveSandbox, NetworkRecord, Tenant
from berth.networks.register import Register
from berth.networks.tenants import Tenants
from berth.store.base import Records
from berth.wire.filters import Filters, InvalidFilter

#: Filters of the network list; prune knows others.
LIST_FILTERS: Final = ("dangling", "driver", "id", "label", "name", "scope", "type")


class Showing:
    """Shows networks, and containers' halves of them."""

    def __init__(self, tenants: Tenants, live: Records[LiveSandbox], register: Register) -> None:
        self._tenants = tenants
        self._live = live
        self._register = register

    # -- networks

    def list(self, filters: Filters) -> list[dict[str, Any]]:
        """Return the networks that pass the filters, as the API lists them."""
        filters.only(LIST_FILTERS)
        kind = filters.get("type")
        for word in kind:
            if word not in ("custom", "builtin"):
                raise InvalidFilter("type", word)
        dangling = filters.boolean("dangling", default=False) if "dangling" in filters else None
        names = filters.get("name")
        return [
            render.network(one, {}, self._register.usage(one))
            for one in (self._register.like(names) if names else self._register.all())
            if self._passes(one, filters, kind, dangling)
        ]

    def _passes(self, one: NetworkRecord, filters: Filters, kind: tuple[str, ...], dangling: bool | None) -> bool:  # noqa: FBT001
        wanted_kind = "builtin" if one.is_predefined else "custom"
        return (
            (not kind or wanted_kind in kind)
            and (dangling is None or dangling == (not one.is_predefined and not self._register.attached(one.id)))
            and filters.exact("driver", one.driver)
            and filters.exact("scope", one.scope)
            and _matches(filters.get("id"), one.id)
            and filters.labels(one.labels)
        )

    def inspect(self, ref: str, *, scope: str = "") -> dict[str, Any]:
        """Return one network with its running containers, as the API shows it."""
        record = self._register.find(ref)
        if scope and scope != record.scope:
            raise NetworkNotFound(ref)
        attached = self._register.attached(record.id)
        members = {ident: (self._tenants.of(ident).name, end) for ident, end in attached.items()}
        return render.network(record, members, self._register.usage(record))

    # -- containers

    def mode(self, container_id: str, recorded: str) -> str:
        """Return ``HostConfig.NetworkMode`` of a container created with `recorded`: a renamed network by its new name.

        What a container wants is changed with its network, all or nothing; the container's own record is not.
        """
        now = self._tenants.of(container_id).mode
        fixed = (*PREDEFINED, "", "default")
        return recorded if recorded in fixed or now in PREDEFINED or now.startswith("container:") else now

    def settings(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of container inspect."""
        tenant, live = self._tenants.of(container_id), self._live.get(container_id)
        return render.container_settings(tenant, live, self._endpoints(tenant, live))

    def summary(self, container_id: str) -> dict[str, Any]:
        """Return ``NetworkSettings`` of the container list."""
        tenant, live = self._tenants.of(container_id), self._live.get(container_id)
        return {"Networks": self._endpoints(tenant, live)}

    def ports(self, container_id: str) -> Sequence[dict[str, Any]]:
        """Return ``Ports`` of the container list."""
        tenant, live = self._tenants.of(container_id), self._live.get(container_id)
        return render.port_list(tenant, live)

    def _endpoints(self, tenant: Tenant, live: LiveSandbox | None) -> dict[str, Any]:
        found = {}
        for name, settings in tenant.endpoints.items():
            record = self._register.by_id(settings.network_id or "") or self._register.named(name)
            end = live.on(record.id) if live and record else None
            has_names = record is not None and not record.is_predefined
            names = render.dns_names(tenant, settings) if has_names else None
            found[name] = render.endpoint(settings, end, names, settings.network_id or (record.id if record else ""))
        return found


def _matches(wanted: tuple[str, ...], value: str) -> bool:
    """Match as Docker does: part of the value, or a regular expression."""
    return not wanted or any(one in value or _searches(one, value) for one in wanted)


def _searches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:
        return False
