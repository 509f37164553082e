"""``key=value`` texts of labels, options and environment, from flags and files."""

from __future__ import annotations

import os
from collections.abc import Iterable

from berth.cli.errors import CommandFailed


def pairs(texts: Iterable[str]) -> dict[str, str]:
    """Turn ``a=b`` texts into a dict; one without ``=`` has an empty value."""
    found: dict[str, str] = {}
    for text in texts:
        key, _, value = text.partition("=")
        found[key] = value
    return found


def check_label(text: str) -> str:
    """Check one ``--label``."""
    if not text.partition("=")[0].strip():
        raise ValueError(f"invalid label '{text}': empty name")
    return text


def check_environment(text: str) -> str:
    """Check one ``-e``; a name without value takes the value of our own environment, or stays a bare name."""
    name, equals, _ = text.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {text}")
    if not equals and name in os.environ:
        return f"{name}={os.environ[name]}"
    return text


def read_environment_file(path: str) -> list[str]:
    """Read an ``--env-file``: a variable a line; bare names take our own value or are left out."""
    variables: list[str] = []
    for text in _file_lines(path):
        name, equals, value = text.partition("=")
        if not name.strip():
            raise CommandFailed(f"no variable name on line '{text}'", 125)
        if any(sign.isspace() for sign in name):
            raise CommandFailed(f"variable '{name}' contains whitespaces", 125)
        if equals:
            variables.append(f"{name}={value}")
        elif name in os.environ:
            variables.append(f"{name}={os.environ[name]}")
    return variables


def read_label_file(path: str) -> list[str]:
    """Read a ``--label-file``."""
    labels: list[str] = []
    for text in _file_lines(path):
        name, equals, value = text.partition("=")
        if any(sign.isspace() for sign in name):
            raise CommandFailed(f"label '{name}' contains whitespaces", 125)
        labels.append(f"{name}={value}" if equals else name)
    return labels


def _file_lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CommandFailed(f"open {path}: {str(error.strerror).lower()}", 125) from None
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    lines: list[str] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise CommandFailed(
                f"env file {path} contains invalid utf8 bytes at line {number}: {line!r}", 125
            ) from None
        text = text.lstrip()
        if text and not text.startswith("#"):
            lines.append(text)
    return lines
