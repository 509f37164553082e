"""Lays out help pages as Docker's client does. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from berth.cli.flags import Flag

#: Width of a help page where the terminal does not say.
WIDTH = 80
#: A line may run over by as much rather than be broken for a short word.
_SLOP = 5


def flag_table(flags: Iterable[Flag], width: int = WIDTH) -> str:
    """Print the options, aligned, their texts wrapped; sorted by name."""
    rows: list[tuple[str, str]] = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        if flag.hidden:
            continue
        left = f"  -{flag.short}, --{flag.name}" if flag.short else f"      --{flag.name}"
        if flag.word:
            left += f" {flag.word}"
        rows.append((left, flag.usage + (f" (default {flag.shown})" if flag.shown else "")))
    column = max((len(left) for left, _ in rows), default=0) + 3
    return "".join(f"{left:<{column}}{_wrap(column, width - 1, text)}\n" for left, text in rows)


def _wrap(indent: int, width: int, text: str) -> str:
    room = width - indent
    lead = ""
    if room < 24:  # too narrow beside the names: go below them
        indent = 16
        room = width - indent
        lead = "\n" + " " * indent
    if room < 24:
        return text.replace("\n", "\n" + " " * indent)
    room -= _SLOP
    lines: list[str] = []
    while text:
        line, text = _cut(room, text)
        lines.append(line.replace("\n", "\n" + " " * indent))
    return lead + ("\n" + " " * indent).join(lines)


def _cut(room: int, text: str) -> tuple[str, str]:
    if room + _SLOP > len(text):
        return text, ""
    head = text[:room]
    at = max(head.rfind(" "), head.rfind("\t"), head.rfind("\n"))
    if at <= 0:
        return text, ""
    newline = head.rfind("\n")
    if 0 < newline < at:
        at = newline
    return text[:at], text[at + 1 :]


def listing(entries: Mapping[str, str]) -> str:
    """Print names with their one-line descriptions."""
    column = max((len(name) for name in entries), default=0) + 2
    column = max(column, 12)
    return "".join(f"  {name:<{column}}{short}\n" for name, short in entries.items())


def command_page(path: str, usage: str, text: str, aliases: Sequence[str], flags: Iterable[Flag]) -> str:
    """Print the help page of one command."""
    page = f"Usage:  {usage_line(path, usage)}\n\n{text}\n"
    if len(aliases) > 1:
        page += f"\nAliases:\n  {', '.join(aliases)}\n"
    flags = list(flags)
    if any(flag.short == "h" for flag in flags):
        flags.append(Flag("help", "", "bool", "Print usage"))
    if any(not flag.hidden for flag in flags):
        page += f"\nOptions:\n{flag_table(flags)}"
    return page


def group_page(path: str, short: str, entries: Mapping[str, str]) -> str:
    """Print the help page of a group of commands."""
    return (
        f"Usage:  {path} COMMAND\n\n{short}\n\nCommands:\n{listing(entries)}\n"
        f"Run '{path} COMMAND --help' for more information on a command.\n"
    )


def usage_line(path: str, usage: str) -> str:
    """Return what follows ``Usage:  ``; a second form of a command stands on a second line."""
    return "\n\t".join(f"{path} {form}".rstrip() for form in usage.split("\n"))
