"""`berth info` and `berth version`."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_INSPECT, compiled
from berth.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session

#: The newest version of the API that this client knows.
API_VERSION = "1.51"


def _client_version(api: str) -> dict[str, Any]:
    from berth import VERSION

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    return {
        "Version": VERSION,
        "ApiVersion": api,
        "DefaultAPIVersion": API_VERSION,
        "PythonVersion": ".".join(map(str, sys.version_info[:3])),
        "GitCommit": "",
        "GoVersion": "",
        "BuildTime": "",
        "Os": "linux",
        "Arch": machine,
        "Context": "default",
    }


def _version(session: Session, parsed: Parsed) -> int:
    server: dict[str, Any] | None = None
    problem: ClientError | None = None
    try:
        server = session.client.get("/version")
    except ClientError as error:
        problem = error
    api = server["ApiVersion"] if server else API_VERSION
    client = _client_version(api)
    form = parsed.text("format")
    if form:
        render = compiled("{{json .}}" if form == "json" else form)
        session.line(render({"Client": client, "Server": server}))
    else:
        for name, key in (("Version", "Version"), ("API version", "ApiVersion"), ("Python version", "PythonVersion")):
            if key == "Version":
                session.line("Client:")
            session.line(f" {name + ':':<18} {client[key]}")
        session.line(f" {'OS/Arch:':<18} {client['Os']}/{client['Arch']}")
        session.line(f" {'Context:':<18} {client['Context']}")
        if server:
            _server_version(session, server)
    if problem:
        prefix = "Error response from daemon: " if isinstance(problem, ApiError) else ""
        session.warn(f"{prefix}{problem}")
        return 1
    return 0


_DETAILS = (
    ("API version", "ApiVersion"),
    ("Go version", "GoVersion"),
    ("Git commit", "GitCommit"),
    ("Built", "BuildTime"),
    ("OS/Arch", "Os"),
    ("Experimental", "Experimental"),
)


def _server_version(session: Session, server: dict[str, Any]) -> None:
    platform = (server.get("Platform") or {}).get("Name")
    session.line(f"\nServer:{' ' + platform if platform else ''}")
    for component in server.get("Components") or ():
        details = component.get("Details") or {}
        session.line(f" {component['Name']}:")
        session.line(f"  {'Version:':<17} {component.get('Version', '')}")
        for name, key in _DETAILS:
            value = details.get(key)
            if value is None:
                continue
            if key == "ApiVersion":
                value = f"{value} (minimum version {details.get('MinAPIVersion', '')})"
            elif key == "BuildTime":
                value = _built(value)
            elif key == "Os":
                value = f"{value}/{details.get('Arch', '')}"
            session.line(f"  {name + ':':<17} {value}")


def _built(text: str) -> str:
    """Print a time as C's asctime does; what is none stays as it is."""
    import time

    from berth.cli.human import parse_time

    try:
        return time.asctime(time.gmtime(parse_time(text)[0]))
    except ValueError:
        return text


def _info(session: Session, parsed: Parsed) -> int:
    form = parsed.text("format")
    try:
        info = session.client.get("/info")
    except ClientError as error:
        if form:
            raise
        _client_info(session)
        session.line("\nServer:")
        session.warn(str(error))
        return 1
    if form:
        from berth import VERSION

        info["ClientInfo"] = {"Debug": False, "Context": "default", "Plugins": [], "Warnings": None, "Version": VERSION}
        render = compiled("{{json .}}" if form == "json" else form)
        session.line(render(info))
        return 0
    _client_info(session)
    session.line("\nServer:")
    _server_info(session, info)
    for warning in info.get("Warnings") or ():
        session.warn(warning)
    return 0


def _client_info(session: Session) -> None:
    from berth import VERSION

    session.line(f"Client:\n Version:    {VERSION}\n Context:    default\n Debug Mode: false")


def _server_info(session: Session, info: dict[str, Any]) -> None:
    def say(name: str, key: str, indent: int = 1) -> None:
        if info.get(key) not in (None, ""):
            value = info[key]
            session.line(f"{' ' * indent}{name}: {str(value).lower() if isinstance(value, bool) else value}")

    say("Containers", "Containers")
    for state in ("Running", "Paused", "Stopped"):
        say(state, f"Containers{state}", 2)
    say("Images", "Images")
    say("Server Version", "ServerVersion")
    say("Storage Driver", "Driver")
    for name, value in info.get("DriverStatus") or ():
        session.line(f"  {name}: {value}")
    say("Logging Driver", "LoggingDriver")
    say("Cgroup Driver", "CgroupDriver")
    say("Cgroup Version", "CgroupVersion")
    plugins = info.get("Plugins") or {}
    session.line(" Plugins:")
    for kind in ("Volume", "Network", "Authorization", "Log"):
        if plugins.get(kind) or kind in ("Volume", "Network"):
            session.line(f"  {kind}: {' '.join(plugins.get(kind) or ())}")
    session.line(f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState') or 'inactive'}")
    if info.get("Runtimes"):
        session.line(f" Runtimes: {' '.join(sorted(info['Runtimes']))}")
    say("Default Runtime", "DefaultRuntime")
    say("Init Binary", "InitBinary")
    for name, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
        commit = info.get(key)
        if commit:
            session.line(f" {name} version: {commit.get('ID', '')}")
    _security(session, info)
    say("Kernel Version", "KernelVersion")
    say("Operating System", "OperatingSystem")
    say("OSType", "OSType")
    say("Architecture", "Architecture")
    say("CPUs", "NCPU")
    if info.get("MemTotal"):
        from berth.cli.human import bytes_size

        session.line(f" Total Memory: {bytes_size(info['MemTotal'])}")
    say("Name", "Name")
    say("ID", "ID")
    say("Docker Root Dir", "DockerRootDir")
    say("Debug Mode", "Debug")
    for name, key in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        say(name, key)
    if info.get("Labels"):
        session.line(" Labels:")
        for label in info["Labels"]:
            session.line(f"  {label}")
    say("Experimental", "ExperimentalBuild")
    _registries(session, info.get("RegistryConfig") or {})
    say("Live Restore Enabled", "LiveRestoreEnabled")
    session.line()


def _security(session: Session, info: dict[str, Any]) -> None:
    options = info.get("SecurityOptions")
    if not options:
        return
    session.line(" Security Options:")
    for option in options:
        found = dict(part.partition("=")[::2] for part in option.split(","))
        session.line(f"  {found.pop('name', option)}")
        for key, value in found.items():
            session.line(f"   {key.capitalize()}: {value}")


def _registries(session: Session, config: dict[str, Any]) -> None:
    insecure = [name for name, entry in (config.get("IndexConfigs") or {}).items() if not entry.get("Secure")]
    ranges = config.get("InsecureRegistryCIDRs") or []
    if insecure or ranges:
        session.line(" Insecure Registries:")
        for name in (*sorted(insecure), *ranges):
            session.line(f"  {name}")
    if config.get("Mirrors"):
        session.line(" Registry Mirrors:")
        for mirror in config["Mirrors"]:
            session.line(f"  {mirror}")


_FORMAT = Flag("format", "f", "string", FORMAT_INSPECT)
INFO = Command("[OPTIONS]", _info, (_FORMAT,))
VERSION = Command("[OPTIONS]", _version, (_FORMAT,))
