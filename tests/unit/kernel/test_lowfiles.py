"""Numbers below 1,024 stay to be had, whatever else is opened."""

import os
import resource
from collections.abc import Iterator

import pytest

from berth.kernel.lowfiles import FD_SETSIZE, LowFiles, NoLowNumber

KEPT = 4


@pytest.fixture
def low() -> Iterator[LowFiles]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2 * FD_SETSIZE:
        pytest.skip(f"no more than {before[1]} files may be opened here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    kept = LowFiles(KEPT)
    yield kept
    kept.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def many(low: LowFiles) -> Iterator[list[int]]:
    """Open files until there is no low number left but those that are kept."""
    opened = [opens()]
    while opened[-1] < FD_SETSIZE:
        opened.append(opens())
    yield opened
    for one in opened:
        os.close(one)


def opens() -> int:
    return os.open(os.devnull, os.O_RDONLY)


def test_one_is_low_among_more_than_a_thousand(low: LowFiles, many: list[int]) -> None:
    for _ in range(100):
        with low.lent():
            one = opens()
        assert one < FD_SETSIZE
        many.append(opens())
        assert many[-1] >= FD_SETSIZE
        with low.given_back():
            os.close(one)
        many.append(opens())
        assert many[-1] >= FD_SETSIZE


def test_those_that_others_took_come_back(low: LowFiles, many: list[int]) -> None:
    taken = []
    for _ in range(KEPT):
        with low.lent():
            taken.append(opens())
    with pytest.raises(NoLowNumber, match=r"more than 1,024 files open"), low.lent():
        pass
    for one in taken:
        os.close(one)
    for _ in range(3):
        with low.lent():
            one = opens()
        assert one < FD_SETSIZE
        os.close(one)


def test_where_there_are_enough_nothing_is_given_up(low: LowFiles) -> None:
    held = list(low._held)
    with low.lent():
        os.close(opens())
    assert low._held == held
    assert len(held) == KEPT
