"""The operations a plan consists of: single API calls with what they need first and why they are made. Pure data.

A plan is a list of operations; `needs` names others by key, which makes it a graph. Unknown needs count as met.
"""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from berth.compose.bodies import Wanted
from berth.compose.seen import Container


class Act(Enum):
    """What an operation does: the words shown while it runs and when it is done."""

    PULL = ("Image", "Pulling", "Pulled")
    CREATE_NETWORK = ("Network", "Creating", "Created")
    REMOVE_NETWORK = ("Network", "Removing", "Removed")
    CONNECT = ("Container", "Connecting", "Connected")
    DISCONNECT = ("Container", "Disconnecting", "Disconnected")
    CREATE_VOLUME = ("Volume", "Creating", "Created")
    REMOVE_VOLUME = ("Volume", "Removing", "Removed")
    REMOVE_IMAGE = ("Image", "Removing", "Removed")
    CREATE = ("Container", "Creating", "Created")
    RECREATE = ("Container", "Recreate", "Recreated")
    RENAME = ("Container", "Renaming", "Renamed")
    START = ("Container", "Starting", "Started")
    STOP = ("Container", "Stopping", "Stopped")
    RESTART = ("Container", "Restarting", "Started")
    KILL = ("Container", "Killing", "Killed")
    PAUSE = ("Container", "Pausing", "Paused")
    UNPAUSE = ("Container", "Unpausing", "Unpaused")
    REMOVE = ("Container", "Removing", "Removed")
    AWAIT_HEALTHY = ("Container", "Waiting", "Healthy")
    AWAIT_EXIT = ("Container", "Waiting", "Exited")
    AWAIT_RUNNING = ("Container", "Waiting", "Healthy", "or running")  # the fourth keeps it from being an alias

    @property
    def noun(self) -> str:
        """The kind of thing worked on."""
        return str(self.value[0])

    @property
    def doing(self) -> str:
        """The word while it runs."""
        return str(self.value[1])

    @property
    def done(self) -> str:
        """The word when it is done."""
        return str(self.value[2])


class Operation(NamedTuple):
    """One call, or one wait."""

    key: str
    act: Act
    #: The name shown, and the final name of the container, network, volume or image.
    target: str
    cause: str
    needs: tuple[str, ...] = ()
    #: An existing container to work on; without one, `target` names one made by another operation.
    container: Container | None = None
    #: What to make.
    want: Wanted | None = None
    #: Key of the network or volume in the model.
    resource: str = ""
    service: str = ""
    #: Seconds between the polite and the final signal; None leaves it to the container.
    timeout: int | None = None
    #: Remove anonymous volumes too; for AWAIT_RUNNING: count an exit with 0 as success.
    thorough: bool = False
    #: A failure is only a warning, and those that need this go on.
    optional: bool = False
    signal: str = ""
    #: Shown in no progress: a step inside another.
    silent: bool = False


def order(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations so that each comes after what it needs, for dry runs and tests."""
    todo = list(operations)
    keys = {operation.key for operation in todo}
    done: set[str] = set()
    result: list[Operation] = []
    while todo:
        ready = [operation for operation in todo if all(need in done or need not in keys for need in operation.needs)]
        if not ready:
            raise ValueError(f"operations wait for each other: {[operation.key for operation in todo]}")
        result.extend(ready)
        done.update(operation.key for operation in ready)
        todo = [operation for operation in todo if operation.key not in done]
    return result
