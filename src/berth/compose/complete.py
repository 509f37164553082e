"""Complete a merged document into the model.

Adds defaults, implied dependencies, names, environment and profiles, and checks the whole.

Reads env and label files, nothing else. Every fault is collected; the places come from the merged document.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from berth.compose import model
from berth.compose.discovery import Place, read_env_file, read_text
from berth.compose.dotenv import parse_raw
from berth.compose.errors import BadProject, Fault, Path
from berth.compose.model import Project, Section, replicas
from berth.compose.values import Map, Value, mark_of

Warn = Callable[[str], None]

#: Network modes that leave no room for networks, ports or aliases of one's own.
_BORROWED: Final = ("service:", "container:")


class _Whole:
    """The document being completed and what is wrong with it."""

    def __init__(self, document: Map, place: Place, warn: Warn) -> None:
        self.document, self.place, self.warn = document, place, warn
        self.name = place.name or ""
        self.faults: list[Fault] = []

    def fault(self, path: Path, text: str) -> None:
        self.faults.append(Fault(mark_of(self.document, path), path, text))

    def section(self, key: str) -> dict[str, Any]:
        found = self.document.get(key)
        return {name: plain(value) for name, value in found.items()} if isinstance(found, dict) else {}


def plain(value: Value) -> Any:  # noqa: ANN401  any value of a document
    """Copy a value without its places."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def complete(
    document: Map,
    place: Place,
    *,
    selected: Iterable[str],
    origins: Mapping[str, Mapping[str, str]],
    warn: Warn,
    resolve_environment: bool,
) -> Project:
    """Turn the merged document into a project, or raise `BadProject` with all that is wrong."""
    whole = _Whole(document, place, warn)
    everything = whole.section("services")
    for name, service in everything.items():
        _defaults(whole, name, service)
    wanted = set(selected)
    profiles = set(place.profiles)
    for name in wanted:
        profiles.update((everything.get(name) or {}).get("profiles") or ())
    services: dict[str, Section] = {}
    disabled: dict[str, Section] = {}
    for name in sorted(everything):
        own = everything[name].get("profiles")
        active = not own or "*" in profiles or name in wanted or profiles.intersection(own)
        (services if active else disabled)[name] = everything[name]
    networks = _resources(whole, "networks")
    volumes = _resources(whole, "volumes")
    secrets = _resources(whole, "secrets")
    configs = _resources(whole, "configs")
    if any("default" in (service.get("networks") or {}) for service in services.values()):
        networks.setdefault("default", {"name": f"{whole.name}_default", "ipam": {}})
    for name, service in services.items():
        _check_service(whole, name, service)
        _check_references(whole, name, service, networks, volumes, secrets, configs)
    _check_dependencies(whole, services, disabled)
    _check_addresses(whole, services, networks)
    _check_ports(whole, services)
    if not whole.faults and resolve_environment:
        for name, service in services.items():
            _environment(whole, name, service, origins.get(name, place.variables))
    if whole.faults:
        raise BadProject(whole.faults)
    used = _used(services)
    return Project(
        name=whole.name,
        directory=place.directory,
        files=place.files,
        services=services,
        disabled=disabled,
        networks={key: value for key, value in sorted(networks.items()) if key in used["networks"]},
        volumes={key: value for key, value in sorted(volumes.items()) if key in used["volumes"]},
        secrets={key: value for key, value in sorted(secrets.items()) if key in used["secrets"]},
        configs={key: value for key, value in sorted(configs.items()) if key in used["configs"]},
        extensions={key: plain(value) for key, value in document.items() if key.startswith("x-")},
        variables=place.variables,
        env_files=place.env_files,
    )


def _defaults(whole: _Whole, name: str, service: Section) -> None:
    """Fill in what is implied by other keys."""
    service.setdefault("command", None)
    service.setdefault("entrypoint", None)
    build = service.get("build")
    if isinstance(build, dict):
        build.setdefault("context", whole.place.directory)
        if "dockerfile_inline" in build and "dockerfile" in build:
            whole.fault(("services", name, "build"), "can't use both dockerfile and dockerfile_inline")
        elif "dockerfile_inline" not in build:
            build.setdefault("dockerfile", "Dockerfile")
        if isinstance(build.get("args"), dict):
            found = {
                key: whole.place.variables.get(key) if value is None else value for key, value in build["args"].items()
            }
            build["args"] = {key: value for key, value in found.items() if value is not None}
    for reference in service.get("secrets") or ():
        target = reference.get("target") or reference["source"]
        reference["target"] = target if target.startswith("/") else f"/run/secrets/{target}"
    for reference in service.get("configs") or ():
        reference["target"] = reference.get("target") or f"/{reference['source']}"
    if "network_mode" not in service and "provider" not in service and not service.get("networks"):
        service["networks"] = {"default": None}
    _imply_dependencies(service)
    deploy = service.get("deploy")
    if isinstance(deploy, dict) and "scale" in service and deploy.get("replicas", service["scale"]) != service["scale"]:
        whole.fault(("services", name, "scale"), "can't set distinct values on 'scale' and 'deploy.replicas'")


def _imply_dependencies(service: Section) -> None:
    implied: dict[str, Section] = {}
    for key in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        text = service.get(key)
        if isinstance(text, str) and text.startswith("service:"):
            implied[text.removeprefix("service:")] = {"condition": "service_started", "restart": True, "required": True}
    for link in service.get("links") or ():
        implied[link.partition(":")[0]] = {"condition": "service_started", "restart": True, "required": True}
    for source in service.get("volumes_from") or ():
        if not source.startswith("container:"):
            implied.setdefault(source.partition(":")[0], {"condition": "service_started", "required": True})
    if implied:
        stated = service.setdefault("depends_on", {})
        for other, entry in implied.items():
            stated.setdefault(other, entry)


def _resources(whole: _Whole, kind: str) -> dict[str, Section]:
    """Name the networks, volumes, secrets or configs of the project and settle which are external."""
    found: dict[str, Section] = {}
    for key, value in whole.section(kind).items():
        resource: Section = value or {}
        path = (kind, key, "external")
        external = resource.pop("external", False)
        if isinstance(external, dict):
            whole.warn(f"{kind}.{key}: external.name is deprecated. Please set name and external: true")
            if "name" in external and "name" in resource:
                whole.fault(path, f"name and external.name conflict; only use name: {kind}.{key}")
            resource["name"] = external.get("name") or resource.get("name") or key
            external = True
        if external:
            for other in sorted(set(resource) - {"name"}):
                if not other.startswith("x-"):
                    whole.fault(
                        path, f'conflicting parameters "external" and "{other}" specified for {kind[:-1]} "{key}"'
                    )
            resource["external"] = True
            resource.setdefault("name", key)
        resource.setdefault("name", f"{whole.name}_{key}")
        if kind == "networks":
            resource.setdefault("ipam", {})
        if kind in {"secrets", "configs"}:
            sources = [source for source in ("file", "environment", "content") if source in resource]
            if len(sources) > 1:
                whole.fault((kind, key), f"{' and '.join(sources)} are mutually exclusive")
            if not sources and not external and "driver" not in resource:
                allowed = (
                    "file, environment or external" if kind == "secrets" else "file, content, environment or external"
                )
                whole.fault((kind, key), f"one of {allowed} must be set")
        found[key] = resource
    return found


def _check_service(whole: _Whole, name: str, service: Section) -> None:
    path: Path = ("services", name)
    if not service.get("image") and not service.get("build") and "provider" not in service:
        whole.fault(path, f'service "{name}" has neither an image nor a build context specified')
    mode = service.get("network_mode")
    if mode is not None and service.get("networks"):
        whole.fault(
            (*path, "network_mode"), f"service {name} declares mutually exclusive `network_mode` and `networks`"
        )
    if mode == "host" and service.get("ports"):
        whole.warn(f"{name}: published ports are discarded with network_mode host")
    count = replicas(service)
    if "container_name" in service and count > 1:
        text = f'can\'t set container_name and scale {count}: names are unique, remove "container_name"'
        whole.fault((*path, "container_name"), text)
    limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
    for own, other in (("cpus", "cpus"), ("mem_limit", "memory"), ("pids_limit", "pids")):
        if own in service and other in limits and service[own] != limits[other]:
            whole.fault((*path, own), f"can't set distinct values on '{own}' and 'deploy.resources.limits.{other}'")
    mounted = {mount["target"] for mount in service.get("volumes") or () if isinstance(mount, dict)}
    for tmpfs in service.get("tmpfs") or ():
        target = tmpfs.partition(":")[0]
        if target in mounted:
            whole.fault((*path, "tmpfs"), f"target {target} already mounted as a volume")


def _check_references(
    whole: _Whole,
    name: str,
    service: Section,
    networks: Mapping[str, Section],
    volumes: Mapping[str, Section],
    secrets: Mapping[str, Section],
    configs: Mapping[str, Section],
) -> None:
    path: Path = ("services", name)
    for key in service.get("networks") or {}:
        if key not in networks and key != "default":
            whole.fault((*path, "networks", key), f'service "{name}" refers to undefined network {key}')
    for index, mount in enumerate(service.get("volumes") or ()):
        if mount["type"] == "volume" and mount.get("source") and mount["source"] not in volumes:
            whole.fault((*path, "volumes", index), f'service "{name}" refers to undefined volume {mount["source"]}')
    for kind, known in (("secrets", secrets), ("configs", configs)):
        for index, reference in enumerate(service.get(kind) or ()):
            if reference["source"] not in known:
                text = f'service "{name}" refers to undefined {kind[:-1]} {reference["source"]}'
                whole.fault((*path, kind, index), text)


def _check_dependencies(whole: _Whole, services: Mapping[str, Section], disabled: Mapping[str, Section]) -> None:
    broken = False
    for name, service in services.items():
        for other, entry in model.dependencies(service):
            path: Path = ("services", name, "depends_on", other)
            if "condition" not in entry:
                whole.fault(path, "condition is required")
            if other == name:
                broken = True
                whole.fault(path, f"dependency cycle detected: {name} -> {name}")
            if other in services or entry.get("required") is False:
                continue
            if other in disabled:
                enabling = " ".join(disabled[other].get("profiles") or ())
                whole.fault(
                    path,
                    f"service {other} is required by {name} but is disabled. Can be enabled by profiles [{enabling}]",
                )
            else:
                whole.fault(path, f'service "{name}" depends on undefined service "{other}"')
    if not broken and (cycle := model.find_cycle(services)):
        whole.fault(("services", cycle[0], "depends_on", cycle[1]), f"dependency cycle detected: {' -> '.join(cycle)}")


def _check_addresses(whole: _Whole, services: Mapping[str, Section], networks: Mapping[str, Section]) -> None:
    """Static addresses: one container only, inside the subnet if the network tells one."""
    for name, service in services.items():
        for key, endpoint in (service.get("networks") or {}).items():
            for family in ("ipv4_address", "ipv6_address"):
                text = (endpoint or {}).get(family)
                if text is None:
                    continue
                import ipaddress

                path: Path = ("services", name, "networks", key, family)
                try:
                    address = ipaddress.ip_address(text)
                except ValueError:
                    whole.fault(path, f"invalid address {text}")
                    continue
                if replicas(service) > 1:
                    whole.fault(path, f"a static address serves one container only, but scale is {replicas(service)}")
                entries = ((networks.get(key) or {}).get("ipam") or {}).get("config") or ()
                try:
                    subnets = [
                        ipaddress.ip_network(entry["subnet"], strict=False) for entry in entries if "subnet" in entry
                    ]
                except ValueError as error:
                    whole.fault(("networks", key, "ipam"), str(error))
                    continue
                subnets = [subnet for subnet in subnets if subnet.version == address.version]
                if subnets and not any(address in subnet for subnet in subnets):
                    shown = ", ".join(str(subnet) for subnet in subnets)
                    whole.fault(path, f"address {text} is not in the subnet of network {key} ({shown})")


def _check_ports(whole: _Whole, services: Mapping[str, Section]) -> None:
    """No host port may be promised twice; ranges are left to the engine, which picks."""
    taken: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for name, service in services.items():
        for index, port in enumerate(service.get("ports") or ()):
            published = str(port.get("published") or "0") if isinstance(port, dict) else "0"
            if published == "0" or "-" in published:
                continue
            address = port.get("host_ip") or ""
            for other, other_address in taken.setdefault((published, port["protocol"]), []):
                if address == other_address or not address.strip("0.:") or not other_address.strip("0.:"):
                    text = f"host port {published}/{port['protocol']} is already published by service {other}"
                    if _families_meet(address, other_address):
                        whole.fault(("services", name, "ports", index), text)
                        break
            taken[published, port["protocol"]].append((name, address))


def _families_meet(one: str, other: str) -> bool:
    """Tell whether two host addresses can be of one family; an empty one is of both."""
    return not one or not other or (":" in one) == (":" in other)


def _environment(whole: _Whole, name: str, service: Section, variables: Mapping[str, str]) -> None:
    """Read the files of environment and labels and settle what takes its value from outside."""
    own: Section = service.get("environment") or {}
    found: dict[str, str | None] = {}

    def lookup(key: str) -> str | None:
        value = variables.get(key)
        return value if value is not None else own.get(key) if own.get(key) is not None else found.get(key)

    for index, entry in enumerate(service.pop("env_file", ())):
        if not os.path.isfile(entry["path"]):
            if entry.get("required", True):
                whole.fault(("services", name, "env_file", index), f"env file {entry['path']} not found")
            continue
        try:
            if entry.get("format") == "raw":
                found.update(parse_raw(read_text(entry["path"])))
            else:
                found.update(read_env_file(entry["path"], lookup))
        except BadProject as error:
            whole.faults.extend(error.faults)
    for key, value in own.items():
        found[key] = variables.get(key) if value is None else value
    if found or "environment" in service:
        service["environment"] = found
    labels: Section = {}
    for path in service.pop("label_file", ()):
        try:
            labels.update(read_env_file(path, lookup))
        except BadProject as error:
            whole.faults.extend(error.faults)
    if labels:
        service["labels"] = {**labels, **(service.get("labels") or {})}


def _used(services: Mapping[str, Section]) -> dict[str, set[str]]:
    used: dict[str, set[str]] = {"networks": set(), "volumes": set(), "secrets": set(), "configs": set()}
    for service in services.values():
        used["networks"].update(service.get("networks") or ())
        used["volumes"].update(
            m["source"] for m in service.get("volumes") or () if m["type"] == "volume" and m.get("source")
        )
        for kind in ("secrets", "configs"):
            used[kind].update(reference["source"] for reference in service.get(kind) or ())
        used["secrets"].update(r["source"] for r in (service.get("build") or {}).get("secrets") or ())
    return used
