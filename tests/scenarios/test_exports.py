"""Trees that leave a volume as a plain tar and come into another, through our client or GNU tar, are the same."""

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenarios.test_backups import data, left, piped
from tests.support import trees
from tests.support.engines import Berth
from tests.support.trees import ACL, CAPABILITY, Node

pytestmark = pytest.mark.root
SETTINGS = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
#: As anybody would who wants all of a tree.
GNU = ("tar", "--sparse", "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "--format=posix")
ONE_OF_EACH = tuple(node for node in trees.rich() if node.kind != "socket")

_FILES = st.sampled_from(
    ((), (("user.one", b"1"), ("user.binary", bytes(range(256)))), (("system.posix_acl_access", ACL),),
     (("security.capability", CAPABILITY),))
)  # fmt: skip
_DIRECTORIES = st.sampled_from(((), (("user.of a directory", b""),), (("system.posix_acl_default", ACL),)))


@st.composite
def attributed(draw: st.DrawFn) -> tuple[Node, ...]:
    """Draw a tree whose files and directories have attributes, access lists and capabilities."""
    kinds = {"file": _FILES, "dir": _DIRECTORIES}
    return tuple(
        dataclasses.replace(node, xattrs=draw(kinds[node.kind])) if node.kind in kinds else node
        for node in draw(trees.trees())
    )


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    yield berth_engine
    for name in ("one", "other"):
        berth_engine.api("DELETE", f"/volumes/{name}")
    assert left(berth_engine) == []


def fresh(engine: Berth, tree: tuple[Node, ...] = ()) -> Path:
    """Give a new volume with a tree in it; the other is not there."""
    for name in ("one", "other"):
        engine.api("DELETE", f"/volumes/{name}")
    engine.api("DELETE", "/berth/volume-trash")
    engine.api("POST", "/volumes/create", {"Name": "one"})
    place = data(engine, "one")
    trees.plant(place, tree)
    return place


def gnu(*words: str, feed: bytes | None = None) -> bytes:
    return subprocess.run([*GNU, *words], input=feed, capture_output=True, check=True).stdout


@given(tree=attributed() | st.just(ONE_OF_EACH))
@SETTINGS
def test_any_tree_is_the_same_on_the_other_side(berth: Berth, tree: tuple[Node, ...]) -> None:
    before = trees.look(fresh(berth, tree))
    packed = piped(berth, "volume", "export", "one").stdout
    piped(berth, "volume", "import", "other", feed=packed)
    after = trees.look(data(berth, "other"))
    assert before.keys() == after.keys()
    assert trees.difference(before, after) == []
    assert trees.difference(before, trees.look(data(berth, "one"))) == [], "and the source as it was"


@given(tree=attributed())
@SETTINGS
def test_what_is_exported_needs_none_of_us(
    berth: Berth, tmp_path_factory: pytest.TempPathFactory, tree: tuple[Node, ...]
) -> None:
    before = trees.look(fresh(berth, tree))
    place = tmp_path_factory.mktemp("gnu")
    gnu("--extract", "--preserve-permissions", "--same-owner", f"--directory={place}",
        feed=piped(berth, "volume", "export", "one").stdout)  # fmt: skip
    assert trees.difference(before, trees.look(place)) == []


@given(tree=attributed())
@SETTINGS
def test_what_is_imported_may_be_anybodys(berth: Berth, tree: tuple[Node, ...]) -> None:
    place = fresh(berth, tree)
    before = trees.look(place)
    piped(berth, "volume", "import", "other", feed=gnu("--create", f"--directory={place}", "."))
    assert trees.difference(before, trees.look(data(berth, "other"))) == []


def test_an_export_that_is_cut_off_becomes_no_volume(berth: Berth) -> None:
    fresh(berth, ONE_OF_EACH)
    packed = piped(berth, "volume", "export", "one").stdout
    for share in (0.1, 0.5, 0.99):
        cut = piped(berth, "volume", "import", "other", feed=packed[: int(len(packed) * share)], check=False)
        assert cut.returncode == 1
        assert berth.api("GET", "/volumes/other").status == 404
