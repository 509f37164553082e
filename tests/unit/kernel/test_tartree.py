"""Names of members become paths below the root, whatever way they are written, or are refused."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.kernel.tarstream import BadTar
from berth.kernel.tartree import inside

NAMES = st.lists(st.sampled_from([b".", b"..", b"a", b".a", b"..a", b"a.", b"/", b"//"]), min_size=1, max_size=7)


@given(NAMES)
def test_a_name_is_the_path_it_means(parts: list[bytes]) -> None:
    name = b"/".join(parts)
    meant = posixpath.normpath(name.lstrip(b"/") or b".")
    if meant == b".." or meant.startswith(b"../"):
        with pytest.raises(BadTar, match="leads out of the volume"):
            inside(name, "volume")
    else:
        assert inside(name, "volume") == (b"/" if meant == b"." else b"/" + meant)


@pytest.mark.parametrize("name", [b"./..", b"./../a", b"..", b"a/../.."])
def test_no_way_of_writing_it_leads_up(name: bytes) -> None:
    with pytest.raises(BadTar, match="leads out of the layer"):
        inside(name, "layer")
