"""Parses ``-v``, ``--mount`` and ``--tmpfs`` into what the API wants."""

from __future__ import annotations

import os

from berth.cli.flags import size, split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Keys that need no value.
_ALONE = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src", "bind-idmap", "chown", "u")
_TRUE = {"1": True, "true": True, "0": False, "false": False}


def volume_flags(specs: list[str]) -> tuple[list[str], list[str]]:
    """Sort ``-v`` flags into binds (with a source) and anonymous volumes; a relative source is resolved here."""
    binds: list[str] = []
    anonymous: list[str] = []
    for spec in specs:
        source, colon, rest = spec.partition(":")
        if not colon:
            anonymous.append(spec)
        elif source in (".", "..") or source.startswith(("./", "../")):
            binds.append(f"{os.path.abspath(source)}:{rest}")
        else:
            binds.append(spec)
    return binds, anonymous


def check_mount(text: str) -> dict[str, Any]:
    """Parse one ``--mount``.

    Raises:
        ValueError: In Docker's words.
    """
    mount: dict[str, Any] = {"Type": "volume"}
    parts: dict[str, dict[str, Any]] = {}
    fields = split_csv(text)
    if not fields:
        raise ValueError("value is empty")
    for field in fields:
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            if key not in _ALONE:
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        _field(mount, parts, key, value, field)
    kind = mount["Type"]
    if not kind:
        raise ValueError("type is required")
    if not mount.get("Target"):
        raise ValueError("target is required")
    for name in ("Volume", "Bind", "Tmpfs", "Image"):
        if name in parts and name.lower() != kind:
            raise ValueError(f"cannot mix '{name.lower()}-*' options with mount type '{kind}'")
    if kind == "bind":
        _check_depth(mount, parts.get("Bind", {}))
    for name, content in parts.items():
        mount[f"{name}Options"] = content
    return mount


def _check_depth(mount: dict[str, Any], bind: dict[str, Any]) -> None:
    """Refuse what ``bind-recursive`` says about a mount that is not read-only, as Docker's client does."""
    depth = "readonly" if "ReadOnlyForceRecursive" in bind else "writable" if "ReadOnlyNonRecursive" in bind else ""
    if depth and not mount.get("ReadOnly"):
        raise ValueError(f"option 'bind-recursive={depth}' requires 'readonly' to be specified in conjunction")
    if depth == "readonly" and bind.get("Propagation") != "rprivate":
        raise ValueError(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )


#: key → (options it belongs to, the API's name, how its value is read)
_OPTIONS: dict[str, tuple[str, str, str]] = {
    "bind-create-src": ("Bind", "CreateMountpoint", "boolean"),
    "bind-nonrecursive": ("Bind", "NonRecursive", "boolean"),
    "bind-propagation": ("Bind", "Propagation", "lower"),
    "image-subpath": ("Image", "Subpath", "text"),
    "tmpfs-mode": ("Tmpfs", "Mode", "octal"),
    "tmpfs-size": ("Tmpfs", "SizeBytes", "size"),
    "volume-nocopy": ("Volume", "NoCopy", "boolean"),
    "volume-subpath": ("Volume", "Subpath", "text"),
}

_SYNONYMS = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "u": "chown"}


def _field(mount: dict[str, Any], parts: dict[str, dict[str, Any]], key: str, value: str, field: str) -> None:
    """Take one ``key=value`` of a mount."""
    if key in _OPTIONS:
        part, name, reading = _OPTIONS[key]
        parts.setdefault(part, {})[name] = _read(key, value, reading)
        return
    match _SYNONYMS.get(key, key):
        case "type":
            mount["Type"] = value.lower()
        case "source":
            relative = value in (".", "..") or value.startswith(("./", "../"))
            mount["Source"] = os.path.abspath(value) if relative else value
        case "target":
            mount["Target"] = value
        case "readonly":
            mount["ReadOnly"] = _boolean(key, value)
        case "consistency":
            mount["Consistency"] = value.lower()
        case "bind-idmap":
            parts.setdefault("Bind", {})["IDMapping"] = _id_mapping(value)
        case "chown":
            mount["Chown"] = _boolean(key, value)
        case "bind-recursive":
            _recursive(parts.setdefault("Bind", {}), value)
        case "volume-label" | "volume-driver" | "volume-opt":
            _volume(parts.setdefault("Volume", {}), key, value)
        case _:
            raise ValueError(f"unexpected key '{key}' in '{field}'")


def _volume(options: dict[str, Any], key: str, value: str) -> None:
    name, _, text = value.partition("=")
    if key == "volume-label":
        options.setdefault("Labels", {})[name] = text
    elif key == "volume-driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    else:
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[name] = text


def _read(key: str, value: str, reading: str) -> object:
    try:
        match reading:
            case "boolean":
                return _boolean(key, value)
            case "lower":
                return value.lower()
            case "octal":
                return int(value, 8)
            case "size":
                return size(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    return value


def _recursive(bind: dict[str, Any], value: str) -> None:
    match value:
        case "enabled":
            pass
        case "disabled":
            bind["NonRecursive"] = True
        case "writable":
            bind["ReadOnlyNonRecursive"] = True
        case "readonly":
            bind["ReadOnlyForceRecursive"] = True
        case _:
            raise ValueError(
                f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")'
            )


def _id_mapping(value: str) -> dict[str, str]:
    source, colon, user = value.partition(":")
    if value == "true" or value in ("", "match-user"):
        return {"Source": "match-user"}
    if source == "match-user" and user:
        return {"Source": source, "User": user}
    if value == "userns" and not colon:
        return {"Source": "userns"}
    raise ValueError(f'invalid value for bind-idmap: {value} (must be "match-user[:USER]" or "userns")')


def _boolean(key: str, value: str) -> bool:
    if value not in _TRUE:
        raise ValueError(f"invalid value for {key}: {value}")
    return _TRUE[value]


def tmpfs_flags(specs: list[str]) -> dict[str, str]:
    """Parse ``--tmpfs`` flags: target → options."""
    found: dict[str, str] = {}
    for spec in specs:
        target, _, options = spec.partition(":")
        found[target] = options
    return found
