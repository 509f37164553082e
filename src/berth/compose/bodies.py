"""From the canonical model to the Engine API's JSON: container create bodies, networks, volumes. Pure.

What an older API does not know is left out or put where that API wants it; the caller says which version is spoken.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import berth
from berth.compose import labels
from berth.compose.errors import ComposeFault
from berth.compose.hashing import resource_hash, service_hash
from berth.compose.model import Project, Section, dependencies
from berth.compose.short import duration_ns

Body = dict[str, Any]

#: From this version on all endpoints go into the create call (API 1.44, Docker 25).
ENDPOINTS_IN_CREATE: Final = (1, 44)
_PROPAGATED: Final = {"shared", "rshared", "slave", "rslave", "private", "rprivate"}


class Wanted(NamedTuple):
    """One container to be made."""

    service: str
    name: str
    number: int = 0
    #: The id of the one-off made by `run`, empty for a container of the service.
    slug: str = ""
    #: Anonymous volumes taken over from the container it replaces: target → volume name.
    inherited: Mapping[str, str] = {}
    image_id: str = ""


def container_name(project: Project, service: str, number: int) -> str:
    """Return the name of one container of a service."""
    own = project.services[service].get("container_name") if service in project.services else None
    return own or f"{project.name}-{service}-{number}"


def image_of(project: Project, service: str) -> str:
    """Return the image a service runs, which a build without a name gets from project and service."""
    return str(project.services[service].get("image") or f"{project.name}-{service}")


def ordered_networks(service: Section) -> list[str]:
    """Return the networks of a service: highest priority first, then as declared."""
    networks = service.get("networks") or {}
    return sorted(networks, key=lambda key: -((networks[key] or {}).get("priority") or 0))


def network_body(project: Project, key: str, resource: Section) -> Body:
    """Return the body of a network create."""
    body: Body = {
        "Name": resource["name"],
        "CheckDuplicate": True,
        "Driver": resource.get("driver") or "",
        "Labels": {
            **(resource.get("labels") or {}),
            labels.PROJECT: project.name,
            labels.NETWORK: key,
            labels.VERSION: berth.VERSION,
            labels.CONFIG_HASH: resource_hash(resource),
        },
    }
    for name, field in (
        ("internal", "Internal"),
        ("attachable", "Attachable"),
        ("enable_ipv6", "EnableIPv6"),
        ("enable_ipv4", "EnableIPv4"),
    ):
        if name in resource:
            body[field] = resource[name]
    if resource.get("driver_opts"):
        body["Options"] = resource["driver_opts"]
    ipam = resource.get("ipam") or {}
    if ipam:
        body["IPAM"] = {
            "Driver": ipam.get("driver") or "default",
            "Options": ipam.get("options") or {},
            "Config": [
                {
                    field: entry[name]
                    for name, field in (
                        ("subnet", "Subnet"),
                        ("ip_range", "IPRange"),
                        ("gateway", "Gateway"),
                        ("aux_addresses", "AuxiliaryAddresses"),
                    )
                    if name in entry
                }
                for entry in ipam.get("config") or ()
            ],
        }
    return body


def volume_body(project: Project, key: str, resource: Section) -> Body:
    """Return the body of a volume create."""
    return {
        "Name": resource["name"],
        "Driver": resource.get("driver") or "",
        "DriverOpts": resource.get("driver_opts") or {},
        "Labels": {
            **(resource.get("labels") or {}),
            labels.PROJECT: project.name,
            labels.VOLUME: key,
            labels.VERSION: berth.VERSION,
            labels.CONFIG_HASH: resource_hash(resource),
        },
    }


def compose_labels(project: Project, want: Wanted) -> Body:
    """Return the labels Compose adds to a container."""
    service = project.services[want.service]
    found = {
        labels.PROJECT: project.name,
        labels.SERVICE: want.service,
        labels.VERSION: berth.VERSION,
        labels.CONFIG_HASH: service_hash(project, service),
        labels.ONEOFF: "True" if want.slug else "False",
        labels.IMAGE: want.image_id,
        labels.WORKING_DIR: project.directory,
        labels.CONFIG_FILES: ",".join(project.files),
        labels.DEPENDS_ON: ",".join(
            f"{name}:{entry['condition']}:{str(bool(entry.get('restart'))).lower()}"
            for name, entry in dependencies(service)
        ),
    }
    if want.slug:
        found[labels.SLUG] = want.slug
    else:
        found[labels.NUMBER] = str(want.number)
    if project.env_files:
        found[labels.ENVIRONMENT_FILE] = ",".join(project.env_files)
    return found


def endpoint(project: Project, want: Wanted, key: str, *, links: Iterable[str], aliases: bool, first: bool) -> Body:
    """Return the settings of a container's endpoint in one network."""
    service = project.services[want.service]
    settings: Section = (service.get("networks") or {}).get(key) or {}
    names = [want.name]
    if aliases:
        names = [want.name, want.service, *(settings.get("aliases") or ())]
    body: Body = {"Aliases": list(dict.fromkeys(names))}
    addresses = {
        field: settings[name]
        for name, field in (
            ("ipv4_address", "IPv4Address"),
            ("ipv6_address", "IPv6Address"),
            ("link_local_ips", "LinkLocalIPs"),
        )
        if name in settings
    }
    if addresses:
        body["IPAMConfig"] = addresses
    links = list(links)
    if links:
        body["Links"] = links
    mac = settings.get("mac_address") or (service.get("mac_address") if first else None)
    if mac:
        body["MacAddress"] = mac
    options = dict(settings.get("driver_opts") or {})
    if "interface_name" in settings:
        options["com.docker.network.endpoint.ifname"] = settings["interface_name"]
    if options:
        body["DriverOpts"] = options
    if "gw_priority" in settings:
        body["GwPriority"] = int(settings["gw_priority"])
    return body


def network_mode(project: Project, service: Section, container_of: Callable[[str], str]) -> str:
    """Return HostConfig.NetworkMode; `container_of` gives the id of a service's first container."""
    mode = service.get("network_mode")
    if mode is not None:
        return borrowed(str(mode), container_of)
    order = ordered_networks(service)
    return str(project.networks[order[0]]["name"]) if order else "none"


def borrowed(mode: str, container_of: Callable[[str], str]) -> str:
    """Resolve `service:x` to the container that serves it."""
    return f"container:{container_of(mode.removeprefix('service:'))}" if mode.startswith("service:") else mode


def create_body(
    project: Project, want: Wanted, api: tuple[int, int], container_of: Callable[[str], str], *, aliases: bool = True
) -> Body:
    """Return the body of the create call, with as many endpoints as the API takes."""
    service = project.services[want.service]
    order = ordered_networks(service) if "network_mode" not in service else []
    taken = order if api >= ENDPOINTS_IN_CREATE else order[:1]
    links = link_texts(project, service)
    body: Body = {
        "Image": image_of(project, want.service),
        "Labels": {**(service.get("labels") or {}), **_publish_from(service), **compose_labels(project, want)},
        "Env": [
            key if value is None else f"{key}={value}" for key, value in (service.get("environment") or {}).items()
        ],
        "HostConfig": _host_config(project, service, want, api, container_of),
        "NetworkingConfig": {
            "EndpointsConfig": {
                project.networks[key]["name"]: endpoint(
                    project, want, key, links=links, aliases=aliases, first=key == order[0]
                )
                for key in taken
            }
        },
    }
    if service.get("command") is not None:
        body["Cmd"] = service["command"]
    if service.get("entrypoint") is not None:
        body["Entrypoint"] = service["entrypoint"] or [""]
    for key, field in (
        ("hostname", "Hostname"), ("domainname", "Domainname"), ("user", "User"), ("working_dir", "WorkingDir"),
        ("tty", "Tty"), ("stdin_open", "OpenStdin"), ("stop_signal", "StopSignal"),
    ):  # fmt: skip
        if key in service:
            body[field] = service[key]
    if want.slug and service.get("stdin_open"):
        # The end of our input is the end of the command's.
        body.update({"StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True})
    if "stop_grace_period" in service:
        body["StopTimeout"] = -(-duration_ns(service["stop_grace_period"]) // 10**9)
    if service.get("mac_address") and api < ENDPOINTS_IN_CREATE:
        body["MacAddress"] = service["mac_address"]
    exposed: Body = {f"{port['target']}/{port['protocol']}": {} for port in service.get("ports") or ()}
    for text in service.get("expose") or ():
        ports, _, protocol = text.partition("/")
        low, _, high = ports.partition("-")
        exposed.update({f"{port}/{protocol or 'tcp'}": {} for port in range(int(low), int(high or low) + 1)})
    if exposed:
        body["ExposedPorts"] = exposed
    if "healthcheck" in service:
        body["Healthcheck"] = _healthcheck(service["healthcheck"], api)
    return body


def link_texts(project: Project, service: Section) -> list[str]:
    """Return the links of a service in the API's form."""
    found: list[str] = []
    for link in service.get("links") or ():
        target, _, alias = link.partition(":")
        if target in project.services:
            name = container_name(project, target, 1)
            found += [f"{name}:{alias or target}", f"{name}:{name}"]
    for link in service.get("external_links") or ():
        target, _, alias = link.partition(":")
        found.append(f"{target}:{alias or target}")
    return found


def _healthcheck(check: Section, api: tuple[int, int]) -> Body:
    if check.get("disable"):
        return {"Test": ["NONE"]}
    body: Body = {}
    if "test" in check:
        body["Test"] = check["test"]
    if "retries" in check:
        body["Retries"] = check["retries"]
    for key, field in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ):
        if key in check and (key != "start_interval" or api >= (1, 44)):
            body[field] = duration_ns(check[key])
    return body


def _restart(service: Section) -> Body:
    policy = (service.get("deploy") or {}).get("restart_policy")
    if policy:
        condition = policy.get("condition", "any")
        name = {"any": "always", "none": "no"}.get(condition, condition)
        return {"Name": name, "MaximumRetryCount": policy.get("max_attempts", 0) if name == "on-failure" else 0}
    name, _, count = str(service.get("restart") or "no").partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _publish_from(service: Section) -> dict[str, str]:
    """Return the labels that say who may use published ports: ``x-from`` of a port, a subnet or several."""
    found = {}
    for port in service.get("ports") or ():
        subnets = port.get("x-from")
        if subnets:
            text = subnets if isinstance(subnets, str) else ",".join(map(str, subnets))
            found[f"berth.publish.from.{port['target']}/{port['protocol']}"] = text
    return found


def _port_bindings(service: Section) -> Body:
    bindings: Body = {}
    for port in service.get("ports") or ():
        entry = {"HostIp": port.get("host_ip", ""), "HostPort": str(port.get("published", ""))}
        bindings.setdefault(f"{port['target']}/{port['protocol']}", []).append(entry)
    return bindings


#: Keys that go into HostConfig as they are.
_VERBATIM: Final = {
    "cap_add": "CapAdd", "cap_drop": "CapDrop", "dns": "Dns", "dns_opt": "DnsOptions", "dns_search": "DnsSearch",
    "group_add": "GroupAdd", "uts": "UTSMode", "cgroup": "CgroupnsMode", "userns_mode": "UsernsMode",
    "privileged": "Privileged", "read_only": "ReadonlyRootfs", "security_opt": "SecurityOpt", "sysctls": "Sysctls",
    "runtime": "Runtime", "init": "Init", "isolation": "Isolation", "cgroup_parent": "CgroupParent",
    "oom_kill_disable": "OomKillDisable", "oom_score_adj": "OomScoreAdj", "storage_opt": "StorageOpt",
    "device_cgroup_rules": "DeviceCgroupRules", "cpuset": "CpusetCpus", "cpu_shares": "CpuShares",
    "cpu_quota": "CpuQuota",
    "cpu_period": "CpuPeriod", "mem_swappiness": "MemorySwappiness", "pids_limit": "PidsLimit", "cpu_count": "CpuCount",
    "cpu_percent": "CpuPercent",
}  # fmt: skip
_SIZES: Final = {
    "mem_limit": "Memory",
    "mem_reservation": "MemoryReservation",
    "memswap_limit": "MemorySwap",
    "shm_size": "ShmSize",
}


def _host_config(  # noqa: C901, PLR0912  a flat list of keys; parts of it would have no names
    project: Project, service: Section, want: Wanted, api: tuple[int, int], container_of: Callable[[str], str]
) -> Body:
    host: Body = {
        "NetworkMode": network_mode(project, service, container_of),
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0} if want.slug else _restart(service),
        "PortBindings": _port_bindings(service),
    }
    for key, field in _VERBATIM.items():
        if key in service:
            host[field] = service[key]
    for key, field in _SIZES.items():
        if key in service:
            host[field] = int(service[key])
    for key, field in (("ipc", "IpcMode"), ("pid", "PidMode")):
        if key in service:
            host[field] = borrowed(service[key], container_of)
    resources = (service.get("deploy") or {}).get("resources") or {}
    limits, reserved = resources.get("limits") or {}, resources.get("reservations") or {}
    if "memory" in limits:
        host["Memory"] = int(limits["memory"])
    if "memory" in reserved:
        host["MemoryReservation"] = int(reserved["memory"])
    if "pids" in limits:
        host["PidsLimit"] = int(limits["pids"])
    cpus = service.get("cpus", limits.get("cpus"))
    if cpus:
        host["NanoCpus"] = round(float(cpus) * 1e9)
    if "logging" in service:
        host["LogConfig"] = {
            "Type": service["logging"].get("driver", ""),
            "Config": service["logging"].get("options") or {},
        }
    if "extra_hosts" in service:
        host["ExtraHosts"] = [text.replace("=", ":", 1) for text in service["extra_hosts"]]
    if "ulimits" in service:
        host["Ulimits"] = [
            {"Name": name, "Soft": value["soft"], "Hard": value["hard"]}
            if isinstance(value, dict)
            else {"Name": name, "Soft": value, "Hard": value}
            for name, value in service["ulimits"].items()
        ]
    if "devices" in service:
        host["Devices"] = [
            {
                "PathOnHost": device["source"],
                "PathInContainer": device.get("target") or device["source"],
                "CgroupPermissions": device.get("permissions") or "rwm",
            }
            for device in service["devices"]
        ]
    requests = [*(service.get("gpus") or ()), *(reserved.get("devices") or ())]
    if requests:
        host["DeviceRequests"] = [
            {
                "Driver": request.get("driver", ""),
                "Count": request.get("count", 0 if request.get("device_ids") else -1),
                "DeviceIDs": request.get("device_ids") or [],
                "Capabilities": [request.get("capabilities") or ["gpu"]],
                "Options": request.get("options") or {},
            }
            for request in requests
        ]
    if "blkio_config" in service:
        host.update(_blkio(service["blkio_config"]))
    if "annotations" in service and api >= (1, 43):
        host["Annotations"] = service["annotations"]
    if "volumes_from" in service:
        host["VolumesFrom"] = [_volumes_from(text, container_of) for text in service["volumes_from"]]
    _add_mounts(project, service, want, host)
    return host


def _blkio(config: Section) -> Body:
    body: Body = {}
    if "weight" in config:
        body["BlkioWeight"] = config["weight"]
    if "weight_device" in config:
        body["BlkioWeightDevice"] = [
            {"Path": entry["path"], "Weight": entry["weight"]} for entry in config["weight_device"]
        ]
    for key, field in (
        ("device_read_bps", "BlkioDeviceReadBps"), ("device_read_iops", "BlkioDeviceReadIOps"),
        ("device_write_bps", "BlkioDeviceWriteBps"), ("device_write_iops", "BlkioDeviceWriteIOps"),
    ):  # fmt: skip
        if key in config:
            body[field] = [{"Path": entry["path"], "Rate": int(entry["rate"])} for entry in config[key]]
    return body


def _volumes_from(text: str, container_of: Callable[[str], str]) -> str:
    if text.startswith("container:"):
        return text.removeprefix("container:")
    service, _, mode = text.partition(":")
    return f"{container_of(service)}:{mode}" if mode else container_of(service)


def _add_mounts(project: Project, service: Section, want: Wanted, host: Body) -> None:
    """Fill Binds, Mounts and Tmpfs."""
    binds: list[str] = []
    mounts: list[Body] = []
    tmpfs = {target: options for target, _, options in (text.partition(":") for text in service.get("tmpfs") or ())}
    inherited = dict(want.inherited)
    for mount in service.get("volumes") or ():
        kind, target = mount["type"], mount["target"]
        details: Section = mount.get(kind) or {}
        source = mount.get("source", "")
        if kind == "volume" and not source and target in inherited:
            source = inherited[target]
        elif kind == "volume" and source:
            source = project.volumes[source]["name"]
        inherited.pop(target, None)
        options = ["ro"] if mount.get("read_only") else []
        if kind == "bind" and details.get("create_host_path", True) and "recursive" not in details:
            options += [details[key] for key in ("selinux", "propagation") if key in details]
            binds.append(":".join(part for part in (source, target, ",".join(options)) if part))
        elif kind == "volume" and source and not details.get("subpath") and not details.get("labels"):
            options += ["nocopy"] if details.get("nocopy") else []
            binds.append(":".join(part for part in (source, target, ",".join(options)) if part))
        else:
            mounts.append(_mount(kind, source, target, mount, details))
    binds += [f"{source}:{target}" for target, source in inherited.items()]
    for kind, known in (("secrets", project.secrets), ("configs", project.configs)):
        for reference in service.get(kind) or ():
            resource = known[reference["source"]]
            if "file" in resource:
                mounts.append(
                    {"Type": "bind", "Source": resource["file"], "Target": reference["target"], "ReadOnly": True}
                )
    if binds:
        host["Binds"] = binds
    if mounts:
        host["Mounts"] = mounts
    if tmpfs:
        host["Tmpfs"] = tmpfs


def _mount(  # noqa: C901  one branch per type
    kind: str, source: str, target: str, mount: Section, details: Section
) -> Body:
    body: Body = {"Type": kind, "Source": source, "Target": target, "ReadOnly": bool(mount.get("read_only"))}
    if "consistency" in mount:
        body["Consistency"] = mount["consistency"]
    if kind == "bind":
        inner: Body = {}
        if "propagation" in details:
            inner["Propagation"] = details["propagation"]
        recursive = details.get("recursive")
        if recursive == "disabled":
            inner["NonRecursive"] = True
        elif recursive == "writable":
            inner["ReadOnlyNonRecursive"] = True
        elif recursive == "readonly":
            inner["ReadOnlyForceRecursive"] = True
        if inner:
            body["BindOptions"] = inner
    elif kind == "volume":
        inner = {"NoCopy": bool(details.get("nocopy"))}
        if details.get("labels"):
            inner["Labels"] = details["labels"]
        if details.get("subpath"):
            inner["Subpath"] = details["subpath"]
        body["VolumeOptions"] = inner
    elif kind == "tmpfs":
        inner = {}
        if "size" in details:
            inner["SizeBytes"] = int(details["size"])
        if "mode" in details:
            inner["Mode"] = details["mode"]
        body["TmpfsOptions"] = inner
    elif kind == "image" and details.get("subpath"):
        body["ImageOptions"] = {"Subpath": details["subpath"]}
    return body


def check_files(project: Project, names: Iterable[str]) -> None:
    """Refuse secrets and configs that cannot be had, before anything is touched."""
    for name in names:
        service = project.services[name]
        for kind, known in (("secrets", project.secrets), ("configs", project.configs)):
            for reference in service.get(kind) or ():
                resource = known[reference["source"]]
                if resource.get("external"):
                    raise ComposeFault(f"unsupported external {kind[:-1]} {reference['source']}")
                if "file" in resource and not os.path.exists(resource["file"]):
                    raise ComposeFault(f"{kind[:-1]} {reference['source']}: file {resource['file']} does not exist")
        injected_files(project, service)


class FileContent(NamedTuple):
    """A file to be put into a container before it starts."""

    target: str
    content: bytes
    mode: int
    uid: int
    gid: int


def injected_files(project: Project, service: Section) -> list[FileContent]:
    """Return secrets and configs whose content is not a file of the host."""
    found: list[FileContent] = []
    for kind, known in (("secrets", project.secrets), ("configs", project.configs)):
        for reference in service.get(kind) or ():
            resource = known[reference["source"]]
            if "content" in resource:
                text: str | None = resource["content"]
            elif "environment" in resource:
                text = project.variables.get(resource["environment"])
                if text is None:
                    name = resource["environment"]
                    raise ComposeFault(
                        f'environment variable "{name}" required by {kind[:-1]} "{reference["source"]}" is not set'
                    )
            else:
                continue
            found.append(
                FileContent(
                    target=reference["target"],
                    content=(text or "").encode("utf-8", "surrogateescape"),
                    mode=int(reference.get("mode", "0444"), 8),
                    uid=int(reference.get("uid", 0)),
                    gid=int(reference.get("gid", 0)),
                )
            )
    return found
