"""What can go wrong with containers. Words and kinds as dockerd has them; what we add is a sentence behind."""

from berth.base.errors import Conflict, InvalidArgument, NotFound, NotModified, SystemFault
from berth.base.names import RESTRICTED_TEXT


class NoSuchContainer(NotFound):
    """No container has this id, name or id prefix."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"No such container: {ref}")


class AmbiguousPrefix(InvalidArgument):
    """Several ids start with this."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Multiple IDs found with provided prefix: {ref}")


class NameInUse(Conflict):
    """Another container has the name."""

    def __init__(self, name: str, holder: str) -> None:
        super().__init__(
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


class BadName(InvalidArgument):
    """A name that no container may have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid container name ({name}), only {RESTRICTED_TEXT} are allowed")


class OtherPlatform(NotFound):
    """The image that has the name runs on something else; clients pull the right one then."""

    def __init__(self, ref: str, has: str, wanted: str) -> None:
        super().__init__(
            f"image with reference {ref} was found but its platform ({has}) does not match the specified platform "
            f"({wanted})"
        )


class NoCommand(InvalidArgument):
    """Neither the request nor the image says what to run."""

    def __init__(self) -> None:
        super().__init__("no command specified")


class IsRunning(NotModified):
    """It runs already."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is already running")


class IsStopped(NotModified):
    """It does not run."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is already stopped")


class NotRunning(Conflict):
    """It does not run, which this needs."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is not running")


class CannotKill(Conflict):
    """A signal has nobody to go to."""

    def __init__(self, ref: str, ident: str) -> None:
        super().__init__(f"cannot kill container: {ref}: container {ident} is not running")


class IsPaused(Conflict):
    """It is paused."""

    def __init__(self, ident: str, *, doing: str = "") -> None:
        words = {
            "": f"container {ident} is already paused",
            "start": "cannot start a paused container, try unpause instead",
            "exec": f"container {ident} is paused, unpause the container before exec",
        }
        super().__init__(words[doing])


class NotPaused(Conflict):
    """It is not paused."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is not paused")


class IsRestarting(Conflict):
    """It is between two runs."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"container {ident} is restarting, wait until the container is running")


class RemovalRunning(Conflict):
    """Somebody is removing it."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"removal of container {ident} is already in progress")


class MarkedForRemoval(Conflict):
    """It can only be removed."""

    def __init__(self) -> None:
        super().__init__("container is marked for removal and cannot be started")


class CannotRemove(Conflict):
    """It is in use."""

    def __init__(self, name: str, state: str) -> None:
        remedy = {
            "running": "container is running: stop the container before removing or force remove",
            "restarting": "container is restarting: stop the container before removing or force remove",
            "paused": "container is paused and must be unpaused first",
        }
        super().__init__(f'cannot remove container "/{name}": {remedy[state]}')


class PruneRunning(Conflict):
    """One prune at a time."""

    def __init__(self) -> None:
        super().__init__("a prune operation is already running")


class CommandUnusable(InvalidArgument):
    """The runtime could not execute what was asked for; `exit_code` is what shells say of it (126 or 127)."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class RuntimeSaysNo(SystemFault):
    """The OCI runtime could not create or start a container for another reason."""


#: Prefix of every failure of the runtime at start; the docker CLI tells 127 and 126 by the words that follow.
_PREFIX = "failed to create task for container: failed to create shim task: OCI runtime create failed: "


def cannot_be_executed(said: str) -> bool:
    """Whether crun, in lower case, says of a command that it is there and no program.

    It adds "operation not permitted" (version 1.8 after the first of these words, 1.21 after the others); what clients
    look for is Go's word for EACCES.
    """
    return "open executable" in said or (
        "the path `" in said and ("` is not a regular file" in said or "` exists but it is not executable" in said)
    )


def start_failure(said: str, command: str) -> CommandUnusable | RuntimeSaysNo:
    """Turn what the runtime said into Docker's words and kind."""
    text = said.strip()
    low = text.lower()
    start = f'{_PREFIX}runc create failed: unable to start container process: exec: "{command}": '
    if "executable file" in low and ("not found in $path" in low or "no such file or directory" in low):
        missing = (
            "executable file not found in $PATH" if "/" not in command else f"stat {command}: no such file or directory"
        )
        return CommandUnusable(start + missing, 127)
    if cannot_be_executed(low):
        return CommandUnusable(start + "permission denied", 126)
    if "permission denied" in low:
        return CommandUnusable(start + low, 126)
    if "no such file or directory" in low and command.lower() in low:
        return CommandUnusable(f"{_PREFIX}{text}", 127)
    if "is a directory" in low:
        return CommandUnusable(start + "is a directory", 126)
    if "exec format error" in low:
        return CommandUnusable(start + "exec format error", 126)
    if "not a directory" in low:
        return CommandUnusable(
            f"{_PREFIX}{text}: Are you trying to mount a directory onto a file (or vice-versa)? "
            "Check if the specified host path exists and is the expected type",
            126,
        )
    return RuntimeSaysNo(f"{_PREFIX}{text}")
