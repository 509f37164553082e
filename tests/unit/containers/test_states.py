import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.containers import states
from berth.containers.states import ALIVE, Event, State


@given(st.lists(st.sampled_from(Event), max_size=30))
def test_a_life_never_leaves_the_table(events: list[Event]) -> None:
    state = State.CREATED
    for event in events:
        if states.may(state, event):
            state = states.after(state, event)
    assert state in State


def test_only_what_runs_can_be_paused_or_exit() -> None:
    for state in State:
        assert states.may(state, Event.EXIT) == (state in ALIVE)
        assert states.may(state, Event.PAUSE) == (state is State.RUNNING)
        assert states.may(state, Event.START) == (state in (State.CREATED, State.EXITED, State.RESTARTING))


def test_what_runs_cannot_be_removed() -> None:
    for state in State:
        assert states.may(state, Event.REMOVE) == (state not in ALIVE)


def test_an_impossible_change_is_a_programming_error() -> None:
    with pytest.raises(states.ImpossibleChange, match="created cannot pause"):
        states.after(State.CREATED, Event.PAUSE)
