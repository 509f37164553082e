"""Turns the flags of `run` and `create` into the body of the API's container create. Reads files, calls nothing."""

from __future__ import annotations

from berth.cli.attachments import endpoints
from berth.cli.errors import CommandFailed
from berth.cli.flags import Parsed
from berth.cli.mounts import tmpfs_flags, volume_flags
from berth.cli.pairs import pairs, read_environment_file, read_label_file
from berth.cli.ports import expose, publish, sources

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]


def container_body(parsed: Parsed, *, detached: bool, api: tuple[int, int]) -> Body:
    """Build the body.

    Args:
        parsed: The flags, and as arguments the image and the command.
        detached: `run -d`: nothing is attached.
        api: The engine's version; older ones want the MAC address at the top.

    Raises:
        CommandFailed: Values that do not fit together, with the exit status of `run`.
    """
    image, *command = parsed.args
    attached = _attached(parsed, detached=detached)
    ports, bindings = publish(parsed.list("publish"))
    ports += [port for port in expose(parsed.list("expose")) if port not in ports]
    binds, anonymous = volume_flags(parsed.list("volume"))
    mode, networks = endpoints(parsed)
    labels = [label for path in parsed.list("label-file") for label in read_label_file(path)] + parsed.list("label")
    variables = [line for path in parsed.list("env-file") for line in read_environment_file(path)]
    body: Body = {
        "Hostname": parsed.text("hostname"),
        "Domainname": parsed.text("domainname"),
        "User": parsed.text("user"),
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "ExposedPorts": {port: {} for port in ports},
        "Tty": parsed.flag("tty"),
        "OpenStdin": parsed.flag("interactive"),
        "StdinOnce": "stdin" in attached and parsed.flag("interactive"),
        "Env": variables + parsed.list("env"),
        "Cmd": command or None,
        "Image": image,
        "Volumes": {target: {} for target in anonymous},
        "WorkingDir": parsed.text("workdir"),
        "Entrypoint": None,
        "Labels": pairs(labels) | sources(parsed.list("publish")),
    }
    if parsed.given("entrypoint"):
        body["Entrypoint"] = [parsed.text("entrypoint")]
    if parsed.text("stop-signal"):
        body["StopSignal"] = parsed.text("stop-signal")
    if parsed.given("stop-timeout"):
        body["StopTimeout"] = parsed.number("stop-timeout")
    if api < (1, 44) and parsed.text("mac-address"):
        body["MacAddress"] = parsed.text("mac-address")
    if health := _health(parsed):
        body["Healthcheck"] = health
    host = _host_config(parsed)
    host |= {"Binds": binds or None, "PortBindings": bindings, "NetworkMode": mode}
    body["HostConfig"] = host
    body["NetworkingConfig"] = {"EndpointsConfig": networks}
    return body


def _attached(parsed: Parsed, *, detached: bool) -> list[str]:
    given: list[str] = parsed.list("attach")
    if detached:
        if given:
            raise CommandFailed("conflicting options: cannot specify both --attach and --detach", 1)
        return []
    if given:
        return given
    return ["stdout", "stderr", *(["stdin"] if parsed.flag("interactive") else [])]


def _health(parsed: Parsed) -> Body | None:
    times = ("interval", "timeout", "start-period", "start-interval")
    some = (
        parsed.text("health-cmd")
        or parsed.number("health-retries")
        or any(parsed.number(f"health-{name}") for name in times)
    )
    if parsed.flag("no-healthcheck"):
        if some:
            raise CommandFailed("--no-healthcheck conflicts with --health-* options", 125)
        return {"Test": ["NONE"]}
    if not some:
        return None
    for name in times:
        if parsed.number(f"health-{name}") < 0:
            raise CommandFailed(f"--health-{name} cannot be negative", 125)
    if parsed.number("health-retries") < 0:
        raise CommandFailed("--health-retries cannot be negative", 125)
    health: Body = {
        "Interval": parsed.number("health-interval"),
        "Timeout": parsed.number("health-timeout"),
        "StartPeriod": parsed.number("health-start-period"),
        "StartInterval": parsed.number("health-start-interval"),
        "Retries": parsed.number("health-retries"),
    }
    health = {key: value for key, value in health.items() if value}
    if parsed.text("health-cmd"):
        health["Test"] = ["CMD-SHELL", parsed.text("health-cmd")]
    return health


def _host_config(parsed: Parsed) -> Body:
    policy = restart_policy(parsed.text("restart"))
    if parsed.flag("rm") and policy["Name"] not in ("", "no"):
        raise CommandFailed("conflicting options: cannot specify both --restart and --rm", 125)
    for flag, words in (("pid", "--pid: invalid PID mode"), ("uts", "--uts: invalid UTS mode")):
        mode = parsed.text(flag)
        if mode and mode != "host" and not (flag == "pid" and mode.startswith("container:")):
            raise CommandFailed(words, 125)
    if parsed.text("userns") not in ("", "host"):
        raise CommandFailed("--userns: invalid USER mode", 125)
    if parsed.text("cgroupns") not in ("", "host", "private"):
        raise CommandFailed("--cgroupns: invalid CGROUP mode", 125)
    security, masked, read_only = _security(parsed.list("security-opt"))
    added = _capabilities(parsed.list("cap-add"))
    dropped = [name for name in _capabilities(parsed.list("cap-drop")) if name == "ALL" or name not in added]
    devices, requests = _devices(parsed.list("device"))
    host: Body = {
        "ContainerIDFile": parsed.text("cidfile"),
        "LogConfig": {"Type": parsed.text("log-driver"), "Config": _log_options(parsed)},
        "RestartPolicy": policy,
        "AutoRemove": parsed.flag("rm"),
        "VolumeDriver": parsed.text("volume-driver"),
        "VolumesFrom": parsed.list("volumes-from") or None,
        "CapAdd": added or None,
        "CapDrop": dropped or None,
        "CgroupnsMode": parsed.text("cgroupns"),
        "Dns": parsed.list("dns"),
        "DnsOptions": parsed.list("dns-option"),
        "DnsSearch": parsed.list("dns-search"),
        "ExtraHosts": parsed.list("add-host") or None,
        "GroupAdd": parsed.list("group-add") or None,
        "IpcMode": parsed.text("ipc"),
        "Links": parsed.list("link") or None,
        "OomScoreAdj": parsed.number("oom-score-adj"),
        "PidMode": parsed.text("pid"),
        "Privileged": parsed.flag("privileged"),
        "PublishAllPorts": parsed.flag("publish-all"),
        "ReadonlyRootfs": parsed.flag("read-only"),
        "SecurityOpt": security or None,
        "UTSMode": parsed.text("uts"),
        "UsernsMode": parsed.text("userns"),
        "ShmSize": parsed.number("shm-size"),
        "Isolation": parsed.text("isolation"),
        "CgroupParent": parsed.text("cgroup-parent"),
        "Devices": devices,
        "DeviceCgroupRules": parsed.list("device-cgroup-rule") or None,
        "DeviceRequests": (requests + _gpus(parsed.list("gpus"))) or None,
        "OomKillDisable": parsed.flag("oom-kill-disable"),
        "Ulimits": list({limit["Name"]: limit for limit in parsed.list("ulimit")}.values()) or None,
        "Mounts": parsed.list("mount"),
        **resources(parsed),
    }
    swappiness = parsed.number("memory-swappiness")
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise CommandFailed(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100", 125)
    host["MemorySwappiness"] = swappiness
    for key, name in (("BlkioDeviceReadBps", "device-read-bps"), ("BlkioDeviceReadIOps", "device-read-iops"),
                      ("BlkioDeviceWriteBps", "device-write-bps"), ("BlkioDeviceWriteIOps", "device-write-iops"),
                      ("BlkioWeightDevice", "blkio-weight-device")):  # fmt: skip
        host[key] = parsed.list(name)
    for key, found in (
        ("StorageOpt", pairs(parsed.list("storage-opt"))),
        ("Sysctls", pairs(parsed.list("sysctl"))),
        ("Annotations", pairs(parsed.list("annotation"))),
        ("Tmpfs", tmpfs_flags(parsed.list("tmpfs"))),
    ):
        if found:
            host[key] = found
    if parsed.text("runtime"):
        host["Runtime"] = parsed.text("runtime")
    if parsed.given("init"):
        host["Init"] = parsed.flag("init")
    if masked is not None:
        host["MaskedPaths"], host["ReadonlyPaths"] = masked, read_only
    return host


def resources(parsed: Parsed) -> Body:
    """Build the limits, which `update` has as well."""
    return {
        "CpuShares": parsed.number("cpu-shares"),
        "Memory": parsed.number("memory"),
        "NanoCpus": parsed.number("cpus"),
        "BlkioWeight": parsed.number("blkio-weight"),
        "CpuPeriod": parsed.number("cpu-period"),
        "CpuQuota": parsed.number("cpu-quota"),
        "CpuRealtimePeriod": parsed.number("cpu-rt-period"),
        "CpuRealtimeRuntime": parsed.number("cpu-rt-runtime"),
        "CpusetCpus": parsed.text("cpuset-cpus"),
        "CpusetMems": parsed.text("cpuset-mems"),
        "MemoryReservation": parsed.number("memory-reservation"),
        "MemorySwap": parsed.number("memory-swap"),
        "PidsLimit": parsed.number("pids-limit"),
    }


def restart_policy(text: str) -> Body:
    """Parse ``on-failure:3``."""
    if not text:
        return {"Name": "", "MaximumRetryCount": 0}
    name, colon, count = text.partition(":")
    if colon and not name:
        raise CommandFailed("invalid restart policy format: no policy provided before colon", 125)
    if count:
        try:
            return {"Name": name, "MaximumRetryCount": int(count)}
        except ValueError:
            raise CommandFailed("invalid restart policy format: maximum retry count must be an integer", 125) from None
    return {"Name": name, "MaximumRetryCount": 0}


def _capabilities(names: list[str]) -> list[str]:
    """Give capabilities their full names; ALL says all there is to say."""
    found = {name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in map(str.upper, names)}
    return ["ALL"] if "ALL" in found else sorted(found)


def _log_options(parsed: Parsed) -> dict[str, str]:
    options = pairs(parsed.list("log-opt"))
    if parsed.text("log-driver") == "none" and options:
        raise CommandFailed("invalid logging opts for driver none", 125)
    return options


def _security(options: list[str]) -> tuple[list[str], list[str] | None, list[str] | None]:
    kept: list[str] = []
    open_paths = False
    for option in options:
        key, sign, value = option.partition("=") if "=" in option else option.partition(":")
        if not sign and key != "no-new-privileges":
            raise CommandFailed(f'Invalid --security-opt: "{option}"', 125)
        if option == "systempaths=unconfined":
            open_paths = True
        elif key == "seccomp" and value not in ("unconfined", "builtin"):
            import json

            try:
                with open(value, encoding="utf-8") as file:
                    kept.append(f"seccomp={json.dumps(json.load(file), separators=(',', ':'))}")
            except OSError as error:
                raise CommandFailed(
                    f"opening seccomp profile ({value}) failed: open {value}: {str(error.strerror).lower()}", 125
                ) from None
            except ValueError as error:
                raise CommandFailed(f"compacting json for seccomp profile ({value}) failed: {error}", 125) from None
        else:
            kept.append(option)
    return (kept, [], []) if open_paths else (kept, None, None)


def _devices(specs: list[str]) -> tuple[list[Body], list[Body]]:
    devices: list[Body] = []
    qualified: list[str] = []
    for spec in specs:
        if "=" in spec and not spec.startswith("/"):
            qualified.append(spec)
            continue
        parts = spec.split(":")
        source = target = parts[0]
        permissions = "rwm"
        if len(parts) > 3 or not source:
            raise CommandFailed(f"invalid device specification: {spec}", 125)
        if len(parts) == 3:
            target, permissions = parts[1] or source, parts[2]
        elif len(parts) == 2:
            if parts[1] and set(parts[1]) <= set("rwm"):
                permissions = parts[1]
            else:
                target = parts[1]
        devices.append({"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions})
    requests: list[Body] = [{"Driver": "cdi", "DeviceIDs": qualified}] if qualified else []
    return devices, requests


def _gpus(specs: list[str]) -> list[Body]:
    found: list[Body] = []
    for spec in specs:
        count = -1 if spec == "all" else int(spec) if spec.isdecimal() else 0
        request: Body = {"Driver": "", "Count": count, "DeviceIDs": None, "Capabilities": [["gpu"]], "Options": {}}
        if spec.startswith("device="):
            request["DeviceIDs"] = spec[7:].split(",")
        found.append(request)
    return found
