"""One table from step types to the functions that carry them out. Must not: decide anything."""

import functools
import operator
from collections.abc import Mapping
from typing import Any

from berth.base.errors import SystemFault
from berth.kernel import families
from berth.kernel.families import Handler
from berth.plan.model import Step


class UnknownStep(SystemFault):
    """No part of the kernel package carries this step out: a programming error."""

    def __init__(self, step: Step) -> None:
        super().__init__(f"nothing carries out a step of type {type(step).__name__}")


class KernelActuator:
    """Carries steps out against the running kernel."""

    def __init__(self, handlers: Mapping[type[Step], Handler] = {}, undo: Mapping[type[Step], Handler] = {}) -> None:
        """Take tables for steps that are not about the kernel, too."""
        self._handlers = families.handlers() | dict(handlers)
        self._undo = families.undo() | dict(undo)

    @property
    def step_types(self) -> Any:  # noqa: ANN401  a union type, for msgspec's decoder
        """The union of every step type, for reading a journal."""
        return functools.reduce(operator.or_, self._handlers)

    def apply(self, step: Step) -> Step | None:
        """Carry out one step; see `berth.plan.model.Actuator`."""
        handler = self._handlers.get(type(step))
        if handler is None:
            raise UnknownStep(step)
        return handler(step)

    def undo_unfinished(self, step: Step) -> Step | None:
        """Return what takes back a step of which it is unknown whether it was done."""
        undo = self._undo.get(type(step))
        return undo(step) if undo is not None else None
