"""At the engine's start: what becomes of a container that has no process. Pure."""

from enum import Enum, auto

from berth.containers.model import ContainerRecord
from berth.containers.restart import starts_with_engine
from berth.containers.states import State


class Verdict(Enum):
    """What to do."""

    #: Nothing: it never ran, and nothing of a run is left.
    CREATED = auto()
    #: Take away what a run may have left; it stays as it is.
    REST = auto()
    #: It ran when the engine was last there and has ended since: do what an exit does.
    ENDED = auto()
    #: Start it, as its restart policy says.
    START = auto()
    #: Finish its removal.
    REMOVE = auto()


def resting(record: ContainerRecord, *, same_boot: bool) -> Verdict:
    """Decide; `same_boot` tells whether the machine has been up since the container last ran."""
    if record.state in (State.REMOVING, State.DEAD):
        return Verdict.REMOVE
    if record.running and same_boot:
        return Verdict.ENDED
    if record.auto_remove and record.state is not State.CREATED:
        return Verdict.REMOVE
    again = record.state is not State.CREATED and starts_with_engine(
        record.host_config.restart_policy,
        stopped=record.has_been_manually_stopped,
        was_running=record.running or record.state is State.RESTARTING,
        exit_code=record.exit_code or (1 if record.running else 0),
    )
    if again:
        return Verdict.START
    if record.running or record.state is State.RESTARTING:
        return Verdict.ENDED
    return Verdict.REST if same_boot else Verdict.CREATED
