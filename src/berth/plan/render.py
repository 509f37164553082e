"""A plan as text: for golden files, dry runs and logs. Pure."""

import msgspec

from berth.plan.model import Plan


def render(plan: Plan) -> str:
    """One line per step: its name, its fields, and after ``#`` its reason."""
    return "".join(f"{_one(planned.step)}  # {planned.why}\n" for planned in plan)


def _one(step: msgspec.Struct) -> str:
    fields = msgspec.structs.asdict(step)
    said = (f" {key}={value}" for key, value in fields.items() if value not in ("", None, ()))
    return type(step).__name__ + "".join(said)
