"""What may be wrong with a plugin; statuses and first sentences are Docker's.

A plugin's own ``Err`` becomes `PluginRefused`, a plain system error as in Docker: nothing says whose fault it was.
"""

from berth.base.errors import InvalidArgument, NotFound, SystemFault


class PluginNotFound(NotFound):
    """No driver and no plugin has that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name}" not found')


class BadPluginFile(SystemFault):
    """A .spec or .json file of a plugin cannot be used."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"plugin file {path}: {reason}")


class PluginLacks(SystemFault):
    """The plugin is there and does not implement what is wanted of it."""

    def __init__(self, name: str, kind: str, implements: tuple[str, ...]) -> None:
        super().__init__(
            f"legacy plugin: Plugin does not implement the requested driver ({name} implements "
            f"{', '.join(implements) or 'nothing'}, not {kind})"
        )


class PluginUnusable(InvalidArgument):
    """The plugin is there and says nothing sensible of what it can do, so that no driver comes of it."""


class PluginUnreachable(SystemFault):
    """The plugin cannot be spoken to: nobody listens, or the connection ends."""

    def __init__(self, name: str, method: str, address: str, reason: str) -> None:
        super().__init__(f'Post "{address}/{method}": {reason} (is plugin {name} running?)')


class PluginSilent(SystemFault):
    """The plugin took a call and did not answer in time."""

    def __init__(self, name: str, method: str, limit_s: float) -> None:
        super().__init__(f"{method}: plugin {name} gave no answer within {limit_s:g} s")


class PluginBabbles(SystemFault):
    """The plugin answered with something that is no answer."""

    def __init__(self, name: str, method: str, reason: str) -> None:
        super().__init__(f"{method}: plugin {name} answered with something else than the protocol: {reason}")


class PluginStatus(SystemFault):
    """The plugin answered with an HTTP status that means failure."""

    def __init__(self, method: str, status: int, said: str) -> None:
        super().__init__(f"{method}: {said}")
        self.status = status


class PluginRefused(SystemFault):
    """The plugin says that it failed."""

    def __init__(self, said: str) -> None:
        super().__init__(f"remote: {said}")
