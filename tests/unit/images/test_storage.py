"""Reading the image store."""

from pathlib import Path

import pytest

from berth.images.storage import Storage, StoreUnreadable
from tests.unit.images.shelves import Shelf


def test_an_image_and_its_layers(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    below = shelf.layer("below", size=10)
    ident = shelf.image(shelf.layer("above", below, size=5), config={"Env": ["A=1"], "Cmd": None, "User": "7"})
    image = Storage(tmp_path).look().images[ident]
    assert [layer.path for layer in image.layer_chain] == [f"{tmp_path}/overlay/l/BELOW", f"{tmp_path}/overlay/l/ABOVE"]
    assert (image.config.env, image.config.cmd, image.config.user) == (("A=1",), (), "7")
    assert image.created_ns == 1_767_225_600 * 10**9
    assert Storage(tmp_path).layer_bytes() == 15


def test_changes_are_seen_and_nothing_is_read_twice(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    storage = Storage(tmp_path)
    assert storage.look().images == {}
    one = shelf.image(shelf.layer("a"))
    first = storage.look()
    assert list(first.images) == [one]
    assert storage.look() is first
    two = shelf.image("", created="2026-02-01T00:00:00Z")
    assert set(storage.look().images) == {one, two}
    shelf.drop(one)
    assert set(storage.look().images) == {two}


def test_no_store_is_an_empty_one(tmp_path: Path) -> None:
    assert Storage(tmp_path / "none").look().images == {}


def test_what_is_incomplete_is_left_out(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.image(shelf.layer("half", flags={"incomplete": True}))
    whole = shelf.image(shelf.layer("whole"), created="2026-03-01T00:00:00Z")
    assert list(Storage(tmp_path).look().images) == [whole]


def test_a_missing_link_costs_only_the_short_path(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    layer = shelf.layer("a")
    (tmp_path / "overlay" / layer / "link").unlink()
    ident = shelf.image(layer)
    assert Storage(tmp_path).look().images[ident].layer_chain[0].path == f"{tmp_path}/overlay/{layer}/diff"


def test_damage_is_named(tmp_path: Path) -> None:
    Shelf(tmp_path)
    (tmp_path / "overlay-images/images.json").write_text("{")
    with pytest.raises(StoreUnreadable):
        Storage(tmp_path).look()
