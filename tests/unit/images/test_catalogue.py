"""Names over the store."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from berth.base.ids import ImageId
from berth.images.catalogue import Catalogue
from berth.images.errors import AmbiguousImage, ImageNotFound, InvalidReference
from berth.images.model import TagRecord
from berth.images.reference import parse_reference
from berth.images.storage import Storage
from berth.store.memory import MemoryRecords
from tests.unit.images.shelves import Shelf

DIGEST = "sha256:" + "d" * 64


class Still:
    """A clock that stands."""

    def now(self) -> datetime:
        return datetime.fromtimestamp(1, UTC)

    def now_ns(self) -> int:
        return 1_000_000_000


async def make(tmp_path: Path) -> tuple[Catalogue, ImageId, ImageId, MemoryRecords[TagRecord]]:
    shelf = Shelf(tmp_path)
    one = ImageId(shelf.image(shelf.layer("a")))
    two = ImageId(shelf.image(shelf.layer("b"), created="2026-02-01T00:00:00Z"))
    tags: MemoryRecords[TagRecord] = MemoryRecords()
    catalogue = Catalogue(Storage(tmp_path), tags, Still())
    await catalogue.put(parse_reference("web:latest"), one)
    await catalogue.put(parse_reference("web").with_digest(DIGEST), one)
    return catalogue, one, two, tags


async def test_every_way_to_name_an_image(tmp_path: Path) -> None:
    catalogue, one, two, _ = await make(tmp_path)
    for ref in ("web", "web:latest", "docker.io/library/web", f"web@{DIGEST}", f"web:other@{DIGEST}", one, one[7:],
                one[:20], one[7:19]):  # fmt: skip
        assert catalogue.resolve(ref).id == one
    assert catalogue.resolve(two[7:17]).repo_tags == ()
    found = catalogue.resolve("web")
    assert (found.repo_tags, found.repo_digests) == (("web:latest",), (f"web@{DIGEST}",))


@pytest.mark.parametrize(
    ("ref", "words"),
    [("nope", "No such image: nope:latest"), ("web:2", "No such image: web:2"),
     ("e" * 64, f"No such image: {'e' * 64}"),
     ("sha256:zz", "No such image: sha256:zz")],
)  # fmt: skip
async def test_words_for_what_is_not_there(tmp_path: Path, ref: str, words: str) -> None:
    catalogue, *_ = await make(tmp_path)
    with pytest.raises(ImageNotFound) as caught:
        catalogue.resolve(ref)
    assert str(caught.value) == words
    assert catalogue.resolve_or_none(ref) is None


async def test_a_prefix_of_several(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    images = [shelf.image(shelf.layer(str(n)), created=f"2026-01-01T00:00:{n:02d}Z") for n in range(20)]
    starts = [ident[7] for ident in images]
    common = next(start for start in starts if starts.count(start) > 1)
    catalogue = Catalogue(Storage(tmp_path), MemoryRecords(), Still())
    with pytest.raises(AmbiguousImage, match=f"No such image: {common}:latest. The prefix fits"):
        catalogue.resolve(common)


async def test_bad_names_are_no_images(tmp_path: Path) -> None:
    catalogue, *_ = await make(tmp_path)
    with pytest.raises(InvalidReference):
        catalogue.resolve("WEB")


async def test_a_name_moves(tmp_path: Path) -> None:
    catalogue, one, two, tags = await make(tmp_path)
    await catalogue.put(parse_reference("web:latest"), two)
    assert catalogue.resolve("web").id == two
    assert [name.familiar for name in catalogue.names(one)] == [f"web@{DIGEST}"]
    assert Catalogue(Storage(tmp_path), tags, Still()).resolve("web").id == two


async def test_names_of_images_that_are_gone_are_dropped(tmp_path: Path) -> None:
    catalogue, one, _, tags = await make(tmp_path)
    await catalogue.put(parse_reference("ghost:1"), ImageId("sha256:" + "9" * 64))
    with pytest.raises(ImageNotFound):
        catalogue.resolve("ghost:1")
    await catalogue.tidy()
    assert [record.image_id for record in tags.all()] == [one, one]
    await catalogue.drop([parse_reference("web:latest"), parse_reference("never:1")])
    assert catalogue.resolve(f"web@{DIGEST}").repo_tags == ()


async def test_all_tags_of_a_repository(tmp_path: Path) -> None:
    catalogue, one, two, _ = await make(tmp_path)
    await catalogue.put(parse_reference("web:2"), two)
    found = {image.id: [name.tag for name in names] for image, names in catalogue.tagged("docker.io/library/web")}
    assert found == {one: ["latest"], two: ["2"]}
