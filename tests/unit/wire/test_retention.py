"""Which backups stay."""

from hypothesis import given
from hypothesis import strategies as st

from berth.wire.retention import RULES, keep

DAYS = [f"2026{month:02}{day:02}T030000Z" for month in (9, 10, 11) for day in range(1, 29)]


def test_without_rules_all_stay() -> None:
    assert set(keep(DAYS, {})) == set(DAYS)


def test_each_rule_keeps_the_newest_of_its_periods() -> None:
    kept = keep(DAYS, {"last": 2, "daily": 3, "weekly": 2, "monthly": 3})
    assert kept == {
        "20261128T030000Z": ["last", "daily", "weekly", "monthly"],
        "20261127T030000Z": ["last", "daily"],
        "20261126T030000Z": ["daily"],
        "20261122T030000Z": ["weekly"],
        "20261028T030000Z": ["monthly"],
        "20260928T030000Z": ["monthly"],
    }


def test_of_one_day_the_newest_stays() -> None:
    assert list(keep(["20261124T010000Z", "20261124T230000Z"], {"daily": 5})) == ["20261124T230000Z"]


@given(st.lists(st.sampled_from(DAYS)), st.dictionaries(st.sampled_from(RULES), st.integers(0, 9)))
def test_the_newest_always_stays_and_nothing_is_invented(stamps: list[str], rules: dict[str, int]) -> None:
    kept = keep(stamps, rules)
    assert set(kept) <= set(stamps)
    if stamps:
        assert max(stamps) in kept
    assert len(kept) <= max(sum(rules.values()), 0) or not any(rules.values())
