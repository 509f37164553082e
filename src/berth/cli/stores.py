"""Places where the engine keeps backups by itself, as flags and arguments name them."""

from __future__ import annotations

from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed

FLAGS = (
    Flag("target", "", "string", "Place of the engine's: a directory of its machine, s3://bucket/prefix, restic:REPO"),
    Flag("repo", "", "string", "Repository of restic's: a path on the engine's machine, s3:https://…, sftp:…"),
    Flag("password-file", "", "string", "File on the engine's machine with the repository's password"),
)


class Place:
    """A store of the engine's.

    Attributes:
        text: What the engine calls it.
        query: The parameters that name it.
    """

    __slots__ = ("query", "text")

    def __init__(self, text: str, password_file: str) -> None:
        self.text = text
        self.query = {"store": text, "passwordfile": password_file or None}


def place_of(parsed: Parsed, named: str = "") -> Place | None:
    """Return the place that flags, or an argument, name; None for files on this side."""
    said = [parsed.text("target"), f"restic:{parsed.text('repo')}" if parsed.text("repo") else "", named]
    found = [text for text in said if text]
    if len(found) > 1:
        raise CommandFailed(f"one place is enough: {' or '.join(found)}")
    return Place(found[0], parsed.text("password-file")) if found else None


def backup_in(parsed: Parsed, source: str) -> tuple[Place | None, str]:
    """Return the place and name of one backup: ``s3://bucket/prefix/NAME``, or NAME where flags name the place."""
    if source.startswith("s3://"):
        where, _, name = source.rpartition("/")
        return place_of(parsed, where), name
    return place_of(parsed), source
