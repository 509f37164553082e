"""Carries out the step that calls a plugin. Blocking. Must not: know what the call is about."""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from berth.plan.model import Step
from berth.plan.steps.plugin import CallPlugin
from berth.plugins.errors import PluginBabbles, PluginSilent, PluginUnreachable
from berth.plugins.rpc import Nothing, Plugins

Table = dict[type[Step], Callable[[Step], Step | None]]


def handlers(plugins: Plugins) -> Table:
    """Return the table for an actuator."""

    def call(step: Step) -> Step | None:
        want = cast("CallPlugin", step)
        body: Any = msgspec.json.decode(want.body) if want.body else None
        if want.lenient:
            plugins.take_back(want.plugin, want.method, body)
            return None
        back = _back(step)
        try:
            plugins.call(want.plugin, want.method, body, Nothing)
        except (PluginSilent, PluginUnreachable, PluginBabbles):
            # it may have been done all the same
            if back is not None:
                call(back)
            raise
        return back

    return {CallPlugin: call}


def _back(step: Step) -> Step | None:
    want = cast("CallPlugin", step)
    if want.lenient:
        return step
    return CallPlugin(want.plugin, want.undo_method, want.undo_body, lenient=True) if want.undo_method else None


#: What takes back a call of which it is unknown whether it was made.
UNDO: Table = {CallPlugin: _back}
