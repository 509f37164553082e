"""The image store: what it reads, what it keeps, what it lets go."""

import json
from pathlib import Path

import pytest

from berth.images.errors import BadArchive
from berth.images.model import ImageRecord
from berth.images.record import ImageRow, LayerRef, LayerRow, hex_of, short_name
from berth.images.storage import Storage
from tests.unit.images.shelves import Shelf, digest


def test_an_image_and_its_layers(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    below = shelf.layer("below", size=10)
    ident = shelf.image(shelf.layer("above", below, size=5), config={"Env": ["A=1"], "Cmd": None, "User": "7"})
    storage = Storage(tmp_path)
    image = storage.images[ident]
    assert [layer.path for layer in image.layer_chain] == [
        f"{shelf.home(below)}/diff",
        f"{shelf.home(digest('above'))}/diff",
    ]
    assert (image.config.env, image.config.cmd, image.config.user) == (("A=1",), (), "7")
    assert (image.created_ns, image.stored_ns) == (1_767_225_600 * 10**9, 5)
    assert storage.layer_bytes() == 15
    assert storage.manifest(ident) == f"manifest of {ident[7:]}".encode()
    assert storage.diff_id(f"sha256:{below}") == f"sha256:{below}"


def test_a_layer_that_comes_twice_is_mounted_once_where_it_is_topmost(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shelf.image(shelf.layer("b", shelf.layer("a")))
    (path,) = (tmp_path / "records").iterdir()
    row = json.loads(path.read_text())
    row["layers"].append(row["layers"][0])
    path.write_text(json.dumps(row))
    (image,) = Storage(tmp_path).images.values()
    assert len(image.layer_chain) == 3
    assert [Path(path).parent for path in ImageRecord(stored=image).layers] == [
        shelf.home(digest("a")),
        shelf.home(digest("b")),
    ]


def test_names_of_layers_leave_room_for_many() -> None:
    name = short_name("sha256:" + "0f" * 32)
    assert name.isalnum()
    assert name == name.lower()
    # 127 layers named from where they lie, and two paths of 150 characters, in a page: see kernel.mount.overlay.
    assert len(f"{name}/diff:") * 127 + 2 * 150 + len("lowerdir=,upperdir=,workdir=") < 4096
    assert short_name("sha256:" + "0f" * 31 + "00") == name  # why the whole digest stands in the record beside it


@pytest.mark.parametrize("text", ["", "sha256:", "sha256:../../etc", "sha512:" + "a" * 128, "sha256:" + "A" * 64])
def test_only_digests_become_paths(text: str) -> None:
    with pytest.raises(BadArchive):
        hex_of(text)


def test_no_store_is_an_empty_one(tmp_path: Path) -> None:
    assert Storage(tmp_path / "none").images == {}


async def test_an_image_of_another_boot_that_was_not_settled_is_dropped(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    lost = shelf.image(shelf.layer("lost", shelf.layer("shared")), boot_id="before")
    kept = shelf.image(shelf.layer("kept", digest("shared")), created="2026-03-01T00:00:00Z")
    settling = shelf.image("", created="2026-04-01T00:00:00Z", boot_id="now")
    storage = Storage(tmp_path, boot_id="now")
    assert set(storage.images) == {kept, settling}
    await storage.adopt()
    await storage.close()
    assert not shelf.record(lost).exists()
    assert shelf.has(digest("lost")) == (False, False)
    assert shelf.has(digest("shared")) == (True, True)
    assert shelf.has(digest("kept")) == (True, True)
    # It is on the disk now, and survives the next crash.
    assert set(Storage(tmp_path, boot_id="after").images) == {kept, settling}


async def test_what_a_killed_engine_left_is_swept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    kept = shelf.image(shelf.layer("kept"))
    orphan = shelf.layer("orphan")
    shelf.record("sha256:" + "e" * 64).write_bytes(b"")
    (tmp_path / "records/.half.1.new").write_text("{")
    (tmp_path / "arriving/pull-1").mkdir(parents=True)
    (tmp_path / "removed/0").mkdir(parents=True)
    storage = Storage(tmp_path)
    await storage.adopt()
    await storage.close()
    assert list(storage.images) == [kept]
    assert shelf.has(orphan) == (False, False)
    assert shelf.has(digest("kept")) == (True, True)
    assert [path.name for path in (tmp_path / "records").iterdir()] == [shelf.record(kept).name]
    assert not (tmp_path / "arriving").exists()
    assert list((tmp_path / "removed").iterdir()) == []


@pytest.mark.parametrize("content", ["{", '{"version": 2}', json.dumps({"id": 1})])
async def test_nothing_is_swept_while_a_record_cannot_be_read(tmp_path: Path, content: str) -> None:
    shelf = Shelf(tmp_path)
    orphan = shelf.layer("perhaps its")
    shelf.record("sha256:" + "e" * 64).write_text(content)
    storage = Storage(tmp_path)
    await storage.adopt()
    await storage.close()
    assert storage.images == {}
    assert shelf.has(orphan) == (True, True)


def test_an_image_with_a_wrong_or_missing_layer_is_left_out(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    missing, wrong, whole = (
        shelf.image(shelf.layer(name), created=f"2026-0{n}-01T00:00:00Z")
        for n, name in enumerate(("missing", "wrong", "whole"), start=1)
    )
    (shelf.home(digest("missing")) / "layer.json").unlink()
    (shelf.home(digest("wrong")) / "layer.json").write_text(
        json.dumps({"diff_id": f"sha256:{'a' * 64}", "size": 1, "tar_size": 1})
    )
    assert list(Storage(tmp_path).images) == [whole]
    assert missing != wrong


async def test_removal_keeps_what_others_need(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shared = shelf.layer("shared")
    one = shelf.image(shelf.layer("one", shared))
    two = shelf.image(shelf.layer("two", shared), created="2026-02-01T00:00:00Z")
    storage = Storage(tmp_path)
    assert set(storage.images) == {one, two}
    await storage.remove(one)
    assert list(storage.images) == [two]
    assert not shelf.record(one).exists()
    assert (shelf.has(digest("one")), shelf.has(shared)) == ((False, False), (True, True))
    assert storage.diff_id(f"sha256:{digest('one')}") is None
    await storage.remove(two)
    assert [list((tmp_path / part).iterdir()) for part in ("blobs/sha256", "layers", "records", "removed")] == [[]] * 4


async def test_removal_spares_what_is_on_its_way_in(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shared = shelf.layer("shared")
    one = shelf.image(shelf.layer("one", shared))
    storage = Storage(tmp_path)
    assert list(storage.images) == [one]
    with storage.pinned() as pins:
        pins.blobs.add(f"sha256:{shared}")
        pins.layers.add(f"sha256:{shared}")
        await storage.remove(one)
        assert shelf.has(shared) == (True, True)
        assert storage.diff_id(f"sha256:{shared}") == f"sha256:{shared}"
    await storage.release(pins)
    assert shelf.has(shared) == (False, False)


async def test_a_blob_that_is_gone_is_not_counted_on_though_another_image_has_its_layer(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    shared = shelf.layer("shared")
    shelf.image(shared)
    packed = f"sha256:{digest('packed')}"
    other = shelf.image(shared, created="2026-02-01T00:00:00Z")
    record = shelf.record(other)
    record.write_text(record.read_text().replace(f'"blob": "sha256:{shared}"', f'"blob": "{packed}"'))
    (tmp_path / "blobs/sha256" / packed[7:]).write_text("packed")
    storage = Storage(tmp_path)
    assert len(storage.images) == 2
    assert storage.diff_id(packed) == f"sha256:{shared}"
    await storage.remove(other)
    assert storage.diff_id(packed) is None
    assert storage.diff_id(f"sha256:{shared}") == f"sha256:{shared}"


async def test_an_image_arrives(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "images", boot_id="now")
    assert storage.images == {}
    home = tmp_path / "images/arriving/one"
    (home / "diff").mkdir(parents=True)
    (home / "diff/file").write_text("x")
    blob = tmp_path / "images/arriving/blob"
    blob.write_text("packed")
    layer, config = f"sha256:{digest('unpacked')}", b'{"rootfs": {"diff_ids": []}}'
    ident, packed = f"sha256:{digest(config.decode())}", f"sha256:{digest('packed')}"
    row = ImageRow(
        id=ident, manifest=f"sha256:{digest('m')}", layers=[LayerRef(blob=packed, diff_id=layer)], stored_ns=7
    )
    with storage.pinned() as pins:
        pins.layers.add(layer)
        storage.place(home, LayerRow(diff_id=layer, size=1, tar_size=2), packed)
        await storage.add(row, small={ident: config, row.manifest: b"m"}, large={packed: blob})
    await storage.release(pins)
    await storage.close()
    found = Storage(tmp_path / "images", boot_id="another").images[ident]
    assert Path(found.layer_chain[0].path, "file").read_text() == "x"
    assert storage.blob(packed).read_text() == "packed"
    assert storage.manifest(ident) == b"m"
    # Its layer stands in the way of nothing: one that comes again is passed over.
    (home / "diff").mkdir(parents=True)
    storage.place(home, LayerRow(diff_id=layer, size=1, tar_size=2), packed)
    assert home.exists()
