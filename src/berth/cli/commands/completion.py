"""Shell completion: the scripts of the shells, and the question they ask back (`berth __complete WORD…`)."""

from __future__ import annotations

from berth.cli import tree
from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from berth.cli.session import Session

_BASH = """\
_berth() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        [ -n "$line" ] && COMPREPLY+=("$line")
    done < <(berth __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    [ ${#COMPREPLY[@]} -eq 0 ] && compopt -o default
}
complete -F _berth berth
"""

_ZSH = """\
#compdef berth
_berth() {
    local -a found
    found=("${(@f)$(berth __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [ -n "$found" ]; then compadd -- $found; else _files; fi
}
compdef _berth berth
"""

_FISH = """\
function __berth_complete
    set -l words (commandline -opc) (commandline -ct)
    berth __complete $words[2..-1] 2>/dev/null
end
complete -c berth -a '(__berth_complete)'
"""

_SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}

#: What the arguments of a command are, by the first word of its usage that says so.
_KINDS = (
    ("CONTAINER", "container"),
    ("NETWORK", "network"),
    ("VOLUME@SNAPSHOT", "snapshot"),
    ("VOLUME[@SNAPSHOT]", "volume or snapshot"),
    ("VOLUME", "volume"),
    ("IMAGE", "image"),
)


def _completion(session: Session, parsed: Parsed) -> None:
    shell = parsed.args[0]
    if shell not in _SCRIPTS:
        raise CommandFailed(f"unknown shell: {shell} (bash, fish and zsh are known)")
    session.line(_SCRIPTS[shell].rstrip("\n"))


def _complete(session: Session, parsed: Parsed) -> None:
    words = list(parsed.args) or [""]
    for candidate in candidates(session, words):
        session.line(candidate)


def candidates(session: Session, words: Sequence[str]) -> list[str]:
    """Return what the last word may become."""
    *before, last = words
    if before[:1] == ["update"] and before[-1] == "--mount-rm":
        return _targets(session, before[1:-1], last)
    before = [word for word in before if not word.startswith("-")]
    if not before:
        names = [*tree.SHORT, *tree.GROUPS, *(name for name in tree.OWN if not name.startswith("_"))]
        return sorted(name for name in names if name.startswith(last))
    if before[0] in tree.GROUPS and len(before) == 1:
        return sorted({name.split(" ")[0] for name in tree.GROUPS[before[0]][1] if name.startswith(last)})
    path: tuple[str, ...] = (before[0],)
    below: list[str] = []
    if before[0] in tree.GROUPS:
        entries = tree.GROUPS[before[0]][1]
        path = (before[0], before[1])
        if len(before) == 2:
            below = [name.split(" ")[1] for name in entries if name.startswith(f"{before[1]} {last}")]
        elif f"{before[1]} {before[2]}" in entries:
            path = (before[0], f"{before[1]} {before[2]}")
            before[1:3] = [f"{before[1]} {before[2]}"]
    target = tree.target_of(path)
    if target is None or before[0] == "compose":
        return []
    command = tree.load(target)
    if last.startswith("-"):
        return sorted(
            f"--{flag.name}" for flag in command.flags if not flag.hidden and f"--{flag.name}".startswith(last)
        )
    if path == ("volume", "trash"):
        return _of_trash(session, before[2:], last)
    kind = _kind(command.usage, len(before) - len(path))
    try:
        return sorted(below) + [name for name in _names(session, kind) if name.startswith(last)]
    except ClientError:
        return sorted(below)


def _targets(session: Session, words: Sequence[str], last: str) -> list[str]:
    """Return where the containers among `words` have mounts; where all have them if none is named yet."""
    try:
        every = session.client.get("/containers/json", {"all": True})
    except ClientError:
        return []
    named = [it for it in every if any(name.lstrip("/") in words for name in it["Names"])]
    found = {mount["Destination"] for it in named or every for mount in it["Mounts"]}
    return sorted(target for target in found if target.startswith(last))


def _of_trash(session: Session, before: Sequence[str], last: str) -> list[str]:
    """Return what follows `berth volume trash`: a verb, then the names that volumes in the trash had."""
    if not before:
        return [verb for verb in ("empty", "ls", "restore", "rm") if verb.startswith(last)]
    try:
        there = {it["Name"] for it in session.client.get("/berth/volume-trash")["Volumes"]}
    except ClientError:
        return []
    return sorted(name for name in there if name.startswith(last)) if before[0] in ("restore", "rm") else []


def _kind(usage: str, index: int) -> str:
    words = [word for word in usage.split() if "OPTIONS" not in word]
    word = words[min(index, len(words) - 1)] if words else ""
    return next((kind for start, kind in _KINDS if start in word), "")


def _names(session: Session, kind: str) -> list[str]:
    client = session.client
    if kind == "container":
        return sorted(it["Names"][0].lstrip("/") for it in client.get("/containers/json", {"all": True}) if it["Names"])
    if kind == "network":
        return sorted(it["Name"] for it in client.get("/networks"))
    if kind == "volume":
        return sorted(it["Name"] for it in client.get("/volumes")["Volumes"] or ())
    if kind == "snapshot":
        return sorted(it["Reference"] for it in client.get("/berth/volume-snapshots"))
    if kind == "volume or snapshot":
        return [*_names(session, "volume"), *_names(session, "snapshot")]
    if kind == "image":
        tags = (tag for it in client.get("/images/json") for tag in it["RepoTags"] or ())
        return sorted(tag.removesuffix(":latest") for tag in tags if tag != "<none>:<none>")
    return []


COMPLETION = Command(
    "bash|fish|zsh",
    _completion,
    least=1,
    most=1,
    long="Print the completion script of a shell.\n\nFor bash:  source <(berth completion bash)",
)
COMPLETE: Command = Command("", _complete, (Flag("unused", "", "bool", "", hidden=True),), most=None, raw=True)
