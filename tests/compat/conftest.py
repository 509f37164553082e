"""Images under the names the document uses, made by Berth from the machine's own packages."""

from pathlib import Path

import pytest

from tests.support.engines import Berth, Dockerd, Engine

_MADE = ("nginx", "postgres")
#: What stands in for an image that needs a registry.
_TAGS = {"my_image": "nginx", "alpine": "busybox"}


@pytest.fixture(scope="session")
def berth_images(berth_engine: Berth) -> Engine:
    """Berth with every image the document names."""
    for name in _MADE:
        berth_engine.berth("image", "bootstrap", name, timeout=300)
    for name, source in _TAGS.items():
        berth_engine.docker("tag", source, name)
    return berth_engine


@pytest.fixture(scope="session")
def dockerd_images(dockerd_engine: Dockerd, berth_images: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The original with the very same images: saved by Berth, loaded by docker."""
    tar: Path = tmp_path_factory.mktemp("images") / "images.tar"
    berth_images.docker("save", "-o", str(tar), *_MADE, *_TAGS, timeout=300)
    dockerd_engine.docker("load", "-i", str(tar), timeout=300)
    tar.unlink()
    return dockerd_engine
