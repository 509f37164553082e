"""Images as the API shows them."""

from pathlib import Path

import pytest

from berth.images import present
from berth.images.errors import ImageNotFound
from berth.images.model import ImageRecord
from berth.images.record import short_name
from berth.images.storage import Storage
from berth.wire.filters import Filters
from tests.unit.images.shelves import Shelf, digest


def records(tmp_path: Path) -> tuple[ImageRecord, ImageRecord, ImageRecord]:
    """Return an old, a newer and a nameless image; the first two share a layer."""
    shelf = Shelf(tmp_path)
    below = shelf.layer("below", size=10)
    idents = (
        shelf.image(shelf.layer("x", below, size=1), created="2026-01-01T00:00:00Z", comment="made"),
        shelf.image(shelf.layer("y", below, size=2), created="2026-01-02T00:00:00Z", config={"Labels": {"a": "b"}}),
        shelf.image(shelf.layer("z", size=3), created="2026-01-03T00:00:00.5Z"),
    )
    images = Storage(tmp_path).images
    one, two, three = (images[ident] for ident in idents)
    return (
        ImageRecord(stored=one, repo_tags=("web:1", "reg.example/a/b:1")),
        ImageRecord(stored=two, repo_tags=("db:2",), repo_digests=(f"db@sha256:{'d' * 64}",)),
        ImageRecord(stored=three),
    )


def test_a_line_of_the_list(tmp_path: Path) -> None:
    one, _, bare = records(tmp_path)
    assert present.summary(one) == {
        "Containers": -1,
        "Created": 1_767_225_600,
        "Id": one.id,
        "Labels": {"kind": "test"},
        "ParentId": "",
        "RepoDigests": [],
        "RepoTags": ["web:1", "reg.example/a/b:1"],
        "SharedSize": -1,
        "Size": 11,
    }
    assert present.summary(bare)["RepoTags"] == []
    assert present.summary(bare, version=(1, 41))["VirtualSize"] == 3


def test_inspect_follows_the_version(tmp_path: Path) -> None:
    one, *_ = records(tmp_path)
    old = present.inspect(one, version=(1, 41), last_tagged_ns=0)
    assert (old["VirtualSize"], old["Config"]["Cmd"], old["Config"]["Tty"]) == (11, ["sh"], False)
    new = present.inspect(one, version=(1, 50), last_tagged_ns=1)
    assert "VirtualSize" not in new
    assert new["Config"] == {"Cmd": ["sh"], "Labels": {"kind": "test"}}
    assert new["RootFS"] == {"Type": "layers", "Layers": [f"sha256:{digest('below')}", f"sha256:{digest('x')}"]}
    assert new["Created"] == "2026-01-01T00:00:00.000000000Z"
    assert new["Comment"] == "made"
    assert new["GraphDriver"]["Data"] == {
        "UpperDir": f"{tmp_path}/layers/{short_name('sha256:' + digest('x'))}/diff",
        "LowerDir": f"{tmp_path}/layers/{short_name('sha256:' + digest('below'))}/diff",
    }


def test_history_is_newest_first(tmp_path: Path) -> None:
    one, *_ = records(tmp_path)
    rows = present.history(one)
    assert [(row["Id"], row["Size"]) for row in rows] == [(one.id, 1), ("<missing>", 10)]
    assert rows[0]["Tags"] == ["web:1", "reg.example/a/b:1"]


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ({}, [2, 1, 0]),
        ({"dangling": ("true",)}, [2]),
        ({"dangling": ("false",)}, [1, 0]),
        ({"label": ("a=b",)}, [1]),
        ({"label!": ("a",)}, [2, 0]),
        ({"before": ("1",)}, [0]),
        ({"since": ("0",)}, [2, 1]),
        ({"reference": ("web",)}, [0]),
        ({"reference": ("db:*",)}, [1]),
        ({"reference": ("*/*/b",)}, [0]),
        ({"reference": ("*b*", "web:?")}, [1, 0]),
        ({"reference": ("nothing",)}, []),
    ],
)
def test_filters(tmp_path: Path, terms: dict[str, tuple[str, ...]], kept: list[int]) -> None:
    images = records(tmp_path)
    chosen = present.selected(images, Filters(terms), resolve=lambda ref: images[int(ref)], until_ns=None)
    assert [image.id for image in chosen] == [images[index].id for index in kept]


def test_a_reference_filter_leaves_only_the_names_asked_for(tmp_path: Path) -> None:
    images = records(tmp_path)
    filters = Filters({"reference": ("web*",)})
    chosen = present.selected(images, filters, resolve=lambda ref: images[int(ref)], until_ns=None)
    assert chosen[0].repo_tags == ("web:1",)


def test_until_and_unknown_images(tmp_path: Path) -> None:
    images = records(tmp_path)

    def absent(ref: str) -> ImageRecord:
        raise ImageNotFound(ref)

    until = 1_767_225_600 * 10**9
    chosen = present.selected(images, Filters(), resolve=absent, until_ns=until)
    assert [image.id for image in chosen] == [images[0].id]
    with pytest.raises(ImageNotFound):
        present.selected(images, Filters({"before": ("x",)}), resolve=absent, until_ns=None)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [("ng*", "nginx:1", True), ("*", "a/b:1", False), ("a/*", "a/b:1", True), ("nginx:[0-9]", "nginx:1", True),
     ("nginx:[!0-9]", "nginx:1", False), ("nginx.1", "nginx:1", False), ("[", "x:1", False)],
)  # fmt: skip
def test_patterns(pattern: str, name: str, *, fits: bool) -> None:
    assert present.matches(pattern, name) is fits


def test_chain_identifiers() -> None:
    # The example of the OCI image specification's definition, worked out by hand for two layers.
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    assert present.chain_ids([first, second]) == [first, "sha256:" + digest(f"{first} {second}")]
