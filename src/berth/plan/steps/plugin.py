"""The step about plugins. Data only."""

from berth.plan.model import Step


class CallPlugin(Step, frozen=True):
    """Call a method of a plugin with a JSON body. `undo_method` and `undo_body` take it back; empty for never.

    A `lenient` call is one of taking back: a plugin that is gone or refuses it is logged and not waited for.
    """

    plugin: str
    method: str
    body: str
    undo_method: str = ""
    undo_body: str = ""
    lenient: bool = False
