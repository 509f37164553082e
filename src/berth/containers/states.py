"""The states of a container and what may happen in each. Pure.

    created ──start──▶ running ◀──unpause── paused
       │                │  ▲  ──pause────▶
       │              exit │ start
       │                ▼  │
       │     ┌──────▶ exited ◀──give up / stop── restarting
       │     │          │  └── policy says again ──▶ (restarting) ──start──▶ running
       ▼     ▼          ▼
      removing ──▶ (gone)        removing ──failure──▶ dead ──remove──▶ removing

While it is being started it is still created, exited or restarting to the world; the start holds its lock.
"""

from enum import Enum
from typing import Final


class State(Enum):
    """Docker's words, as in ``State.Status``."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"
    REMOVING = "removing"
    DEAD = "dead"


class Event(Enum):
    """What changes a state."""

    START = "start"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    EXIT = "exit"
    AGAIN = "again"  # exited, and the restart policy will start it again
    GIVE_UP = "give up"  # the wait for that start was called off
    REMOVE = "remove"
    FAIL = "fail"  # a removal could not be finished


TABLE: Final[dict[tuple[State, Event], State]] = {
    (State.CREATED, Event.START): State.RUNNING,
    (State.EXITED, Event.START): State.RUNNING,
    (State.RESTARTING, Event.START): State.RUNNING,
    (State.RUNNING, Event.PAUSE): State.PAUSED,
    (State.PAUSED, Event.UNPAUSE): State.RUNNING,
    (State.RUNNING, Event.EXIT): State.EXITED,
    (State.PAUSED, Event.EXIT): State.EXITED,
    (State.RUNNING, Event.AGAIN): State.RESTARTING,
    (State.PAUSED, Event.AGAIN): State.RESTARTING,
    (State.EXITED, Event.AGAIN): State.RESTARTING,
    (State.RESTARTING, Event.GIVE_UP): State.EXITED,
    (State.CREATED, Event.REMOVE): State.REMOVING,
    (State.EXITED, Event.REMOVE): State.REMOVING,
    (State.RESTARTING, Event.REMOVE): State.REMOVING,
    (State.DEAD, Event.REMOVE): State.REMOVING,
    (State.REMOVING, Event.REMOVE): State.REMOVING,
    (State.REMOVING, Event.FAIL): State.DEAD,
}

#: States in which a process exists.
ALIVE: Final = frozenset({State.RUNNING, State.PAUSED})


class ImpossibleChange(AssertionError):
    """The table has no such change: a programming error, since the service checks first."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a container that is {state.value} cannot {event.value}")


def after(state: State, event: Event) -> State:
    """Return the state that `event` leads to. Raises `ImpossibleChange`."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise ImpossibleChange(state, event) from None


def may(state: State, event: Event) -> bool:
    """Tell whether `event` is possible in `state`."""
    return (state, event) in TABLE
