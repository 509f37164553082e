"""config: print the project in canonical form, or one list of it."""

import json
import sys
from typing import Any

from berth.compose import bodies
from berth.compose.arguments import Parsed
from berth.compose.complete import plain
from berth.compose.emit import yaml_text
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.hashing import service_hash
from berth.compose.model import Project, with_dependencies
from berth.compose.session import Session

Tree = Any

#: The order of the top level; services and the rest sort by name.
_TOP = ("name", "services", "networks", "volumes", "secrets", "configs")


def config(session: Session, flags: Parsed) -> int:
    """Print the merged and checked project."""
    style = flags.text("format", "yaml")
    if style not in {"yaml", "json"}:
        raise BadUsage(f"unsupported format {style!r}: yaml and json are available")
    if flags.has("no-interpolate"):
        return _templates(session, flags, style)
    if flags.has("resolve-image-digests"):
        raise ComposeFault("--resolve-image-digests is not available yet")
    if flags.has("variables") or flags.has("environment"):
        return _environment(session, flags)
    project = session.project(flags.arguments)
    text = _list(project, flags)
    if text is None:
        if flags.arguments:
            keep = with_dependencies(project.services, flags.arguments)
            project = project._replace(services={name: s for name, s in project.services.items() if name in keep})
        text = render(document_of(project), style, escape=True)
    return _write(text, flags)


def _write(text: str, flags: Parsed) -> int:
    if flags.has("quiet"):
        return 0
    if flags.text("output"):
        with open(flags.text("output"), "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)
    return 0


def _list(project: Project, flags: Parsed) -> str | None:
    """Return one of the lists, if one is asked for."""
    found: list[str] | None = None
    if flags.has("services"):
        found = sorted(project.services)
    elif flags.has("volumes"):
        found = sorted(project.volumes)
    elif flags.has("networks"):
        found = sorted(project.networks)
    elif flags.has("profiles"):
        everything = [*project.services.values(), *project.disabled.values()]
        found = sorted({profile for service in everything for profile in service.get("profiles") or ()})
    elif flags.has("images"):
        found = sorted(
            {bodies.image_of(project, name) for name in project.services if "provider" not in project.services[name]}
        )
    elif flags.text("hash"):
        wanted = sorted(project.services) if flags.text("hash") == "*" else flags.text("hash").split(",")
        found = [f"{name} {service_hash(project, project.service(name))}" for name in wanted]
    return None if found is None else "".join(f"{line}\n" for line in found)


def document_of(project: Project) -> dict[str, Tree]:
    """Return the project as one document."""
    document: dict[str, Tree] = {
        "name": project.name,
        "services": {name: sorted_keys(s) for name, s in project.services.items()},
    }
    for key, section in (
        ("networks", project.networks), ("volumes", project.volumes),
        ("secrets", project.secrets), ("configs", project.configs),
    ):  # fmt: skip
        if section:
            document[key] = {name: sorted_keys(value) for name, value in section.items()}
    document.update(project.extensions)
    return document


def sorted_keys(value: Tree) -> Tree:
    """Sort the keys of all mappings, so that the same project always prints the same text."""
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [sorted_keys(item) for item in value]
    return value


def _escaped(value: Tree) -> Tree:
    """Double the dollars, so that what is printed can be read again."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return value


def render(document: dict[str, Tree], style: str, *, escape: bool) -> str:
    """Print a document."""
    if escape:
        document = _escaped(document)
    if style == "json":
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    for service in document.get("services", {}).values():
        for key in ("command", "entrypoint"):
            if key in service and service[key] is None:
                del service[key]
    for network in (document.get("networks") or {}).values():
        if isinstance(network, dict) and network.get("ipam") == {}:
            del network["ipam"]
    return yaml_text(document)


def _templates(session: Session, flags: Parsed, style: str) -> int:
    """Print the merged files with their variables left in."""
    from berth.compose.project import load_document

    loaded = load_document(session.place(), session.warn, sys.stdin.read, templates=True)
    document = plain(loaded.document)
    document.pop("version", None)
    ordered = {
        "name": loaded.name,
        **{key: sorted_keys(document[key]) for key in (*_TOP[1:], *sorted(document)) if key in document},
    }
    if flags.has("services"):
        return _write("".join(f"{name}\n" for name in sorted(ordered.get("services") or ())), flags)
    return _write(render(ordered, style, escape=False), flags)


def _environment(session: Session, flags: Parsed) -> int:
    if flags.has("variables"):
        raise ComposeFault("config --variables is not available yet")
    variables = session.place().variables
    return _write("".join(f"{key}={variables[key]}\n" for key in sorted(variables)), flags)
