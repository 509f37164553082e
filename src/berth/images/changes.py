"""Dockerfile instructions that change an image's configuration (``--change`` of import and commit). Pure.

Form of the instructions: Dockerfile reference; those allowed: moby ``daemon/commit.go`` and ``builder/dockerfile``.
"""

import json
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final

from berth.base.errors import InvalidArgument
from berth.base.units import parse_duration_ns
from berth.images.errors import BadChange

_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?\Z", re.IGNORECASE)
#: A health check's times are at least so long, in nanoseconds, or 0.
_SHORTEST_NS: Final = 1_000_000
Config = dict[str, Any]


def apply_changes(config: Config, changes: Sequence[str]) -> Config:
    """Return `config` after every instruction; raises `BadChange`."""
    made = dict(config)
    words: set[str] = set()
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        if not word:
            continue
        words.add(word.upper())
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise BadChange(f"{word.lower()} is not a valid change command")
        if not rest.strip():
            raise BadChange(f"{word.upper()} requires at least one argument")
        instruction(made, rest.strip())
        if word.upper() == "ENTRYPOINT" and "CMD" not in words:
            made.pop("Cmd", None)  # it was meant for the entrypoint that was there before
    return made


def _command(text: str) -> list[str]:
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return ["/bin/sh", "-c", text]


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise BadChange(f"{text}: {exc}") from None
    if "=" not in words[0]:
        name, _, value = text.partition(" ")
        return [(name, value.strip())]
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise BadChange(f"Syntax error - can't find = in {name!r}. Must be of the form: name=value")
    return [(name, value) for name, _, value in pairs]


def _list(text: str) -> list[str]:
    if text.startswith("["):
        return _command(text)
    return text.split()


def _cmd(config: Config, text: str) -> None:
    config["Cmd"] = _command(text)


def _entrypoint(config: Config, text: str) -> None:
    config["Entrypoint"] = _command(text)


def _env(config: Config, text: str) -> None:
    have = dict(item.partition("=")[::2] for item in config.get("Env") or ())
    have |= dict(_pairs(text))
    config["Env"] = [f"{name}={value}" for name, value in have.items()]


def _label(config: Config, text: str) -> None:
    config["Labels"] = (config.get("Labels") or {}) | dict(_pairs(text))


def _expose(config: Config, text: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in text.split():
        match = _PORT.match(word)
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else 0
        if match is None or not 0 < first <= last <= 65_535:
            raise BadChange(f"invalid containerPort: {word}")
        ports |= {f"{port}/{(match[3] or 'tcp').lower()}": {} for port in range(first, last + 1)}
    config["ExposedPorts"] = ports


def _volume(config: Config, text: str) -> None:
    config["Volumes"] = (config.get("Volumes") or {}) | {path: {} for path in _list(text)}


def _user(config: Config, text: str) -> None:
    config["User"] = text


def _workdir(config: Config, text: str) -> None:
    base = config.get("WorkingDir") or "/"
    config["WorkingDir"] = text if text.startswith("/") else f"{base.rstrip('/')}/{text}"


def _stop_signal(config: Config, text: str) -> None:
    config["StopSignal"] = text


def _on_build(config: Config, text: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or ()), text]


def _healthcheck(config: Config, text: str) -> None:
    made: Config = {}
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        made |= _health_flag(flag)
        text = text.strip()
    word, _, rest = text.partition(" ")
    if word.upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
    elif word.upper() == "CMD" and rest.strip():
        command = rest.strip()
        test = ["CMD", *_command(command)] if command.startswith("[") else ["CMD-SHELL", command]
        config["Healthcheck"] = {"Test": test} | made
    else:
        raise BadChange(f"Unknown type {word!r} in HEALTHCHECK (try CMD)")


def _health_flag(flag: str) -> Config:
    name, _, value = flag.removeprefix("--").partition("=")
    if name == "retries":
        if not value.removeprefix("-").isdecimal():
            raise BadChange(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        if int(value) < 1:
            raise BadChange(f"--retries must be at least 1 (not {value})")
        return {"Retries": int(value)}
    field = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    if name not in field:
        raise BadChange(f"Unknown flag: {name}")
    try:
        length = parse_duration_ns(value)
    except InvalidArgument as exc:
        raise BadChange(str(exc)) from None
    if 0 < length < _SHORTEST_NS:
        raise BadChange(f'Interval "{name}" cannot be less than 1ms')
    return {field[name]: length}


_INSTRUCTIONS: Final[dict[str, Callable[[Config, str], None]]] = {
    "CMD": _cmd, "ENTRYPOINT": _entrypoint, "ENV": _env, "LABEL": _label, "EXPOSE": _expose, "VOLUME": _volume,
    "USER": _user, "WORKDIR": _workdir, "STOPSIGNAL": _stop_signal, "ONBUILD": _on_build,
    "HEALTHCHECK": _healthcheck,
}  # fmt: skip
