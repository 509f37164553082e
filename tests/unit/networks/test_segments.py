"""What a network is → the largest segment its links carry whole."""

import msgspec
import pytest

from berth.networks.errors import BadOption
from berth.networks.model import NetworkRecord
from berth.networks.options import MOST_SEGMENT, PLAIN_SEGMENT, SEGMENT, parse_bridge
from berth.networks.segments import AS_WAY_OUT, LARGE, segment_of

OPEN = NetworkRecord("r" * 64, "red", "bridge", bridge="br")
INTERNAL = msgspec.structs.replace(OPEN, internal=True)


def chosen(record: NetworkRecord, **options: str) -> int:
    return segment_of(record, parse_bridge(options))


def test_large_where_nothing_leaves_and_else_as_the_way_out() -> None:
    assert chosen(INTERNAL) == LARGE
    assert chosen(OPEN) == AS_WAY_OUT


@pytest.mark.parametrize("record", [OPEN, INTERNAL])
@pytest.mark.parametrize("size", [PLAIN_SEGMENT, 131_072, MOST_SEGMENT])
def test_an_option_counts_whatever_the_network_is(record: NetworkRecord, size: int) -> None:
    assert chosen(record, **{SEGMENT: str(size)}) == size


def test_another_ones_bridge_is_not_ours_to_tell() -> None:
    assert chosen(msgspec.structs.replace(INTERNAL, adopted_bridge=True)) == PLAIN_SEGMENT


@pytest.mark.parametrize("text", ["65535", "524281", "-1", "64k", ""])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(BadOption, match=SEGMENT):
        parse_bridge({SEGMENT: text})
