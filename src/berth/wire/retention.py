"""Which backups are kept: the rules of ``--keep-last`` and ``--keep-daily``, ``-weekly``, ``-monthly``. Pure.

Each rule keeps the newest of each of its newest periods that have any, as restic's do; a backup that one rule keeps
stays. Times are UTC, and begin a backup's stamp: ``20261124T194702Z``, with whatever makes it its own behind that.
Only the standard library is used: the command line prunes directories with it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

#: The rules, in the order in which they are said.
RULES = ("last", "daily", "weekly", "monthly")


def _week(stamp: str) -> str:
    from datetime import date

    year, week, _ = date(int(stamp[:4]), int(stamp[4:6]), int(stamp[6:8])).isocalendar()
    return f"{year}-{week:02}"


#: Rule → the period a stamp (``20261124T194702Z``) is in.
_PERIODS: dict[str, Callable[[str], str]] = {
    "daily": lambda stamp: stamp[:8],
    "weekly": _week,
    "monthly": lambda stamp: stamp[:6],
}


def keep(stamps: Iterable[str], rules: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the stamps that stay, each with the rules that keep it; without any rule all stay."""
    ordered: Sequence[str] = sorted(set(stamps), reverse=True)
    wanted = {rule: count for rule, count in rules.items() if count > 0}
    if not wanted:
        return {stamp: [] for stamp in ordered}
    kept: dict[str, list[str]] = {}
    for stamp in ordered[: wanted.get("last", 0)]:
        kept.setdefault(stamp, []).append("last")
    for rule, period in _PERIODS.items():
        seen: set[str] = set()
        for stamp in ordered:
            if len(seen) >= wanted.get(rule, 0):
                break
            if period(stamp) not in seen:
                seen.add(period(stamp))
                kept.setdefault(stamp, []).append(rule)
    return kept
