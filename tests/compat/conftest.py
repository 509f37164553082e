"""Images under the names the document uses, made from the machine's own packages.

The engines' namespaces reach no mirror, so the recipes are run here, in the test's own process, and what they make is
loaded into both engines from one archive.
"""

import asyncio
import shutil
from pathlib import Path

import pytest

from berth.base.clock import SystemClock
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.images.model import TagRecord
from berth.images.service import Images
from berth.store.memory import MemoryRecords
from tests.support.engines import Berth, Dockerd, Engine

_MADE = ("nginx", "postgres", "busybox")
#: What stands in for an image that needs a registry.
_TAGS = {"my_image": "nginx", "alpine": "busybox"}
#: Not busybox itself: the engines have one of that name already.
_SAVED = ("nginx", "postgres", *_TAGS)


async def _make(root: Path, archive: Path) -> None:
    records: MemoryRecords[TagRecord] = MemoryRecords()
    images = Images(Layout(root / "data", root / "exec"), records, Bus(SystemClock()), lambda _: [])

    async def make(name: str) -> None:
        async for message in images.bootstrap(name):
            assert "error" not in message, message

    await asyncio.gather(*map(make, _MADE))
    for name, source in _TAGS.items():
        await images.tag(source, name)
    with archive.open("wb") as out:
        async for piece in images.save(_SAVED):
            out.write(piece)
    await images.close()


@pytest.fixture(scope="session")
def document_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of every image the document names."""
    root = tmp_path_factory.mktemp("recipes")
    archive = root / "images.tar"
    try:
        asyncio.run(_make(root, archive))
    finally:
        shutil.rmtree(root / "data", ignore_errors=True)
    return archive


def _loaded(engine: Engine, archive: Path) -> Engine:
    engine.docker("load", "-i", str(archive), timeout=300)
    return engine


@pytest.fixture(scope="session")
def berth_images(berth_engine: Berth, document_archive: Path) -> Engine:
    """Berth with those images."""
    return _loaded(berth_engine, document_archive)


@pytest.fixture(scope="session")
def dockerd_images(dockerd_engine: Dockerd, document_archive: Path) -> Engine:
    """The original with the very same images."""
    return _loaded(dockerd_engine, document_archive)
