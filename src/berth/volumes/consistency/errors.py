"""Errors of holding still: what stood in the way, and what can be done."""

from berth.base.errors import Conflict, InvalidArgument, SystemFault


class HookFailed(Conflict):
    """A command that was to prepare a container failed."""

    def __init__(self, what: str, container: str, command: str, why: str) -> None:
        super().__init__(f"{what}: hook in container {container} failed: {command}: {why}. Nothing was read")


class NothingHooked(InvalidArgument):
    """Hooks were asked for and there are none."""

    def __init__(self, what: str, containers: str) -> None:
        super().__init__(
            f"{what}: consistency hook needs a command: give --pre or --post, "
            f"or set the label berth.backup.pre or berth.backup.post on a container that uses the volume ({containers})"
        )


class NotFrozen(Conflict):
    """A container could not be made to hold still."""

    def __init__(self, what: str, container: str, why: str) -> None:
        super().__init__(
            f"{what}: container {container} cannot be paused: {why}. Stop it (docker stop {container}), "
            "or read the data without holding it still: --consistency none"
        )


class NotStopped(Conflict):
    """A container could not be stopped, or must not be."""

    def __init__(self, what: str, container: str, why: str) -> None:
        super().__init__(f"{what}: container {container} cannot be stopped: {why}")


class NotNoted(SystemFault):
    """What is held still cannot be written down, without which nothing is held."""

    def __init__(self, what: str, exc: OSError) -> None:
        super().__init__(
            f"{what}: cannot write down what is held still: {exc.filename}: {(exc.strerror or '').lower()}"
        )
