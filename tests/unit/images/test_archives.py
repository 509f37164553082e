"""Archives: taking compression off, writing layers and whole archives."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from berth.images.bundle import Entry, add_layer_bytes, finish_bundle, layer_bytes
from berth.images.errors import BadArchive
from berth.images.manifest import Platform
from berth.images.packing import write_archive
from berth.images.reference import parse_reference
from berth.images.unpacking import unpack_stream


async def body(data: bytes, piece: int = 3) -> AsyncIterator[bytes]:
    for at in range(0, len(data), piece):
        yield data[at : at + piece]


@pytest.mark.parametrize(
    "packed",
    [lambda d: d, gzip.compress, lambda d: gzip.compress(d[:50]) + gzip.compress(d[50:]), bz2.compress, lzma.compress],
)
async def test_compressions(tmp_path: Path, packed: "type[bytes]") -> None:
    data = bytes(range(256))
    await unpack_stream(body(packed(data)), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


@pytest.mark.parametrize("data", [b"", b"ab"])
async def test_short_bodies(tmp_path: Path, data: bytes) -> None:
    await unpack_stream(body(data), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == data


async def test_damaged_compression(tmp_path: Path) -> None:
    with pytest.raises(BadArchive):
        await unpack_stream(body(b"\x1f\x8b" + b"junk" * 20), tmp_path / "out")


def test_a_layer_by_hand() -> None:
    entries = [
        Entry(path="etc"),
        Entry(path="etc/x", content=b"hi", mode=0o640, uid=1, gid=2),
        Entry(path="sh", link="busybox"),
    ]
    data = layer_bytes(entries, mtime_s=5)
    assert data == layer_bytes(entries, mtime_s=5)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        first, second, third = tar.getmembers()
    assert first.isdir()
    assert (second.mode, second.uid, second.gid, second.mtime, second.size) == (0o640, 1, 2, 5, 2)
    assert (third.issym(), third.linkname) == (True, "busybox")


async def test_an_archive_is_docker_s_and_an_oci_layout(tmp_path: Path) -> None:
    layer = add_layer_bytes(tmp_path, layer_bytes([Entry(path="etc")], mtime_s=0), created_by="test")
    ident = finish_bundle(
        tmp_path,
        config={"Cmd": ["sh"]},
        layers=[layer],
        created="2026-01-01T00:00:00Z",
        platform=Platform("linux", "amd64"),
    )
    names = [parse_reference("a:1"), parse_reference("reg.example/b:2")]
    data = b"".join([piece async for piece in write_archive([(tmp_path, names)])])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {info.name: tar.extractfile(info).read() for info in tar if info.isreg()}  # type: ignore[union-attr]
    (row,) = json.loads(files["manifest.json"])
    assert row["Config"] == "blobs/" + ident.replace(":", "/")
    assert row["RepoTags"] == ["a:1", "reg.example/b:2"]
    assert [len(files[path]) for path in row["Layers"]] == [layer.size]
    index = json.loads(files["index.json"])
    named = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert named == ["docker.io/library/a:1", "reg.example/b:2"]
    manifest = json.loads(files["blobs/" + index["manifests"][0]["digest"].replace(":", "/")])
    assert manifest["config"]["digest"] == ident
    assert json.loads(files["repositories"])["a"] == {"1": layer.digest[7:]}
