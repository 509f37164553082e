"""The step about kernel settings. Data only."""

from berth.plan.model import Step


class WriteSysctl(Step, frozen=True):
    """Write a setting below ``/proc/sys`` (`key` with dots or slashes), in a pinned namespace if given."""

    key: str
    value: str
    namespace: str = ""
