"""What a plan is: frozen steps, each with the reason it is there. Pure; must not do anything."""

from typing import NamedTuple, Protocol

import msgspec


class Step(msgspec.Struct, frozen=True, kw_only=False, tag=True):
    """One change to the machine: one kernel request, all or nothing, repeatable.

    A subclass lives in ``berth.plan.steps`` and holds plain data only (text, numbers, tuples), so that
    it can be journalled. Its class name is its tag and must be unique.
    """


class Planned(NamedTuple):
    """A step and why it is in the plan."""

    step: Step
    why: str


Plan = tuple[Planned, ...]


class Actuator(Protocol):
    """What carries steps out; `berth.kernel.actuator` is the real one."""

    def apply(self, step: Step) -> Step | None:
        """Carry `step` out (blocking) and return the step that takes it back.

        None means that nothing changed. Raises an `EngineError`, and then has changed nothing.
        """
        ...

    def undo_unfinished(self, step: Step) -> Step | None:
        """Return what takes `step` back when it is unknown whether it was carried out (after a crash)."""
        ...
