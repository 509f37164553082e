"""Tell whether what runs is what the files say: one digest per service, network and volume.

The digest covers what would make another container, not how many there are, when they start or how the image is come
by. Must not: touch anything but the files of secrets and configs, which it reads.
"""

import json
import os
from typing import Any, Final

from berth.compose.model import Project, Section

#: Keys that change nothing about a container once it exists.
_IRRELEVANT: Final = frozenset(
    {
        "build",
        "pull_policy",
        "pull_refresh_after",
        "scale",
        "depends_on",
        "profiles",
        "develop",
        "attach",
        "post_start",
        "pre_stop",
    }
)


def text_digest(text: str) -> str:
    """Return the SHA-256 of a text in hexadecimal."""
    return _sha256(text.encode("utf-8", "surrogateescape"))


def _sha256(data: bytes) -> str:
    # The interpreter's own module: hashlib loads OpenSSL, which costs more than all the hashing here.
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # no stub; CPython until 3.11
    except ImportError:
        from hashlib import sha256
    return str(sha256(data).hexdigest())


def _digest(value: Any) -> str:  # noqa: ANN401  any JSON value
    return text_digest(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False))


def _content(project: Project, kind: str, source: str) -> str | None:
    """Return what a secret or config holds, as far as it can be read."""
    resource = (project.secrets if kind == "secrets" else project.configs).get(source) or {}
    if "content" in resource:
        return str(resource["content"])
    if "environment" in resource:
        return project.variables.get(resource["environment"])
    if "file" in resource:
        return _file_digest(resource["file"])
    return None


def _file_digest(path: str) -> str | None:
    """Return the digest of a file, or of a directory's names and files; None if that cannot be read.

    A container sees its file through a bind mount, and an editor that writes a new file and renames it leaves the
    mount on the old one: only another container has the new content for certain.
    """
    try:
        if os.path.isdir(path):
            inside = [f"{name} {_file_digest(os.path.join(path, name))}" for name in sorted(os.listdir(path))]
            return text_digest("\n".join(inside))
        if not os.path.isfile(path):
            return None  # reading a pipe would take from it what the container is to have
        with open(path, "rb") as body:
            return _sha256(body.read())
    except OSError:
        return None


def service_hash(project: Project, service: Section) -> str:
    """Digest a service, with the content of its secrets and configs."""
    known = {key: value for key, value in service.items() if key not in _IRRELEVANT}
    deploy = service.get("deploy")
    if deploy:
        known["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
        if not known["deploy"]:
            del known["deploy"]
    for kind in ("secrets", "configs"):
        if kind in service:
            known[kind] = [{**entry, "=": _content(project, kind, entry["source"])} for entry in service[kind]]
    return _digest(known)


def resource_hash(resource: Section) -> str:
    """Digest a network or volume."""
    return _digest({key: value for key, value in resource.items() if key != "external"})
