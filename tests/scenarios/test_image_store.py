"""What the image store promises: images go as they came, layers are unpacked once, a crash leaves nothing half made."""

import contextlib
import gzip
import hashlib
import http.client
import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_images import lines
from tests.support.engines import ORACLE, Berth, Engine, wait_for

pytestmark = pytest.mark.root

REGISTRY = "127.0.0.1:5003"
DOCKER = "application/vnd.docker"


@contextlib.contextmanager
def registry_of(engine: Engine, tmp_path: Path) -> Iterator[str]:
    program = ORACLE / "usr/bin/docker-registry"
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}}}\n"
        f'http: {{addr: "{REGISTRY}"}}\ncompatibility: {{schema1: {{enabled: true}}}}\n'
    )
    name = str(program) if program.exists() else shutil.which("docker-registry")
    assert name is not None, "docker-registry is not installed"
    process = subprocess.Popen(
        engine.spaces.inside([name, "serve", str(settings)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: engine.host("curl", "-sf", f"http://{REGISTRY}/v2/", check=False).ok, "the registry to answer")
        yield REGISTRY
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def shelf(own_berth: Berth, tmp_path: Path) -> Iterator["Shelf"]:
    with registry_of(own_berth, tmp_path):
        yield Shelf(own_berth, tmp_path)


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, body in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), 0o755
            tar.addfile(info, io.BytesIO(body))
    return out.getvalue()


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Shelf:
    """Puts images made by hand into a registry."""

    def __init__(self, engine: Berth, tmp_path: Path) -> None:
        self.engine = engine
        self.tmp_path = tmp_path
        self.store = engine.data_root / "images"

    def put(
        self, name: str, layers: Sequence[bytes], *, config: dict[str, Any] | None = None, diff_ids: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Push an image of these tar streams; return its name."""
        directory = self.tmp_path / f"image-{len(list(self.tmp_path.glob('image-*')))}"
        directory.mkdir()
        body = {
            "architecture": "amd64",
            "os": "linux",
            "config": config or {},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers))],
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids) or [digest(layer) for layer in layers]},
        }
        blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        raw = json.dumps(body).encode()
        for data in (raw, *blobs):
            (directory / digest(data)[7:]).write_bytes(data)
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{DOCKER}.distribution.manifest.v2+json",
            "config": {
                "mediaType": f"{DOCKER}.container.image.v1+json", "size": len(raw), "digest": digest(raw),
            },
            "layers": [
                {"mediaType": f"{DOCKER}.image.rootfs.diff.tar.gzip", "size": len(blob), "digest": digest(blob)}
                for blob in blobs
            ],
        }  # fmt: skip
        (directory / "manifest.json").write_text(json.dumps(manifest))
        (directory / "version").write_text("Directory Transport Version: 1.1\n")
        full = f"{REGISTRY}/{name}"
        self.engine.host(
            "skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *options, f"dir:{directory}",
            f"docker://{full}",
        )  # fmt: skip
        return full

    def pull(self, name: str) -> list[dict[str, object]]:
        repository, _, tag = name.rpartition(":")
        answer = self.engine.api("POST", f"/images/create?fromImage={repository}&tag={tag}")
        return lines(answer.body)

    def content(self) -> dict[str, set[str]]:
        """Return what is in the store, part by part."""
        parts = {part: self.store / part for part in ("blobs/sha256", "layers", "records", "arriving", "removed")}
        return {part: {path.name for path in place.iterdir()} - {"skopeo"} if place.exists() else set()
                for part, place in parts.items()}  # fmt: skip


@pytest.fixture
def busybox_layer(busybox: Path) -> bytes:
    return busybox.read_bytes()


def said(messages: Sequence[dict[str, object]], status: str) -> list[str]:
    return [str(one["id"]) for one in messages if one.get("status") == status]


def test_an_image_goes_as_it_came(shelf: Shelf, busybox_layer: bytes) -> None:
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 5_000_000_000}
    layers = [busybox_layer, tar_of({"extra": b"x"})]
    docker = shelf.engine.docker
    for number, options in enumerate(([], ["--format", "oci"], ["--format", "oci", "--dest-compress-format", "zstd"])):
        name = shelf.put(
            f"went:{number}", layers, config={"Healthcheck": check, "Cmd": ["cat", "/extra"]}, options=options
        )
        out = docker("pull", name).out
        came = re.findall(r"Digest: (sha256:[0-9a-f]{64})", out)[0]
        assert docker("run", "--rm", name).out == "x"
        again = f"{REGISTRY}/copies/{number}:1"
        docker("tag", name, again)
        assert f"1: digest: {came} size: " in docker("push", again).out
        shown = json.loads(docker("image", "inspect", name).out)[0]
        # skopeo, which has put it there, knows no health checks in OCI's form.
        assert shown["Config"].get("Healthcheck") == (None if options else check)
        assert shown["RootFS"]["Layers"] == [digest(layer) for layer in layers]
        # Both names, saved and loaded without a registry: the same image.
        archive = shelf.tmp_path / f"saved-{number}.tar"
        docker("save", "-o", str(archive), name)
        docker("rmi", name, again)
        assert f"Loaded image: {name}" in docker("load", "-i", str(archive)).out
        loaded = json.loads(docker("image", "inspect", name).out)[0]
        assert (loaded["Id"], loaded["Config"], loaded["Size"]) == (shown["Id"], shown["Config"], shown["Size"])
        assert docker("run", "--rm", name).out == "x"
        docker("rmi", name)


def test_the_first_schema_of_manifests(shelf: Shelf, busybox_layer: bytes) -> None:
    name = shelf.put("old:1", [busybox_layer, tar_of({"extra": b"x"})], options=["--format", "v2s1"])
    assert shelf.engine.docker("pull", name).ok
    assert shelf.engine.docker("run", "--rm", name, "cat", "/extra").out == "x"


def test_images_share_layers_and_nothing_is_fetched_twice(shelf: Shelf, busybox_layer: bytes) -> None:
    docker = shelf.engine.docker
    before = shelf.content()
    one = shelf.put("one:1", [busybox_layer, tar_of({"file": b"one"})])
    two = shelf.put("two:1", [busybox_layer, tar_of({"file": b"two"})])
    blob = digest(gzip.compress(busybox_layer, 1, mtime=0))[7:19]
    assert blob in said(shelf.pull(one), "Pull complete")
    second = shelf.pull(two)
    assert said(second, "Already exists") == [blob]
    assert blob not in said(second, "Pull complete") + said(second, "Extracting")
    assert len(shelf.content()["layers"] - before["layers"]) == 2  # busybox itself was there, imported
    assert docker("run", "--rm", two, "cat", "/file").out == "two"
    docker("rmi", one)
    assert docker("run", "--rm", two, "cat", "/file").out == "two"
    docker("rmi", two)
    assert shelf.content() == before


def test_a_layer_that_an_image_has_twice(shelf: Shelf, busybox_layer: bytes) -> None:
    again = tar_of({"file": b"again"})
    name = shelf.put("twice:1", [again, busybox_layer, again, tar_of({"last": b"x"}), again])
    assert shelf.engine.docker("pull", name).ok
    assert shelf.engine.docker("run", "--rm", name, "cat", "/file", "/last").out == "againx"


def test_two_pulls_at_once_unpack_a_shared_layer_once(shelf: Shelf, busybox_layer: bytes) -> None:
    noise = tar_of({f"noise/{n}": n.to_bytes(2, "big") * 20_000 for n in range(500)})
    names = [shelf.put(f"at-once:{n}", [noise, tar_of({"file": b"%d" % n})]) for n in range(3)]
    answers: dict[str, list[dict[str, object]]] = {}
    threads = [threading.Thread(target=lambda name=name: answers.update({name: shelf.pull(name)})) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blob = digest(gzip.compress(noise, 1, mtime=0))[7:19]
    assert [answer[-1].get("error") for answer in answers.values()] == [None] * 3
    assert sum(said(answer, "Extracting").count(blob) for answer in answers.values()) == 1


@pytest.mark.parametrize("fault", ["diff_id", "tar", "count"])
def test_a_layer_that_is_not_what_the_image_says(shelf: Shelf, busybox_layer: bytes, fault: str) -> None:
    before = shelf.content()
    wrong = [digest(busybox_layer), digest(b"something else")]
    layers = [busybox_layer, b"no archive" * 500 if fault == "tar" else tar_of({"x": b"y"})]
    name = shelf.put("wrong:1", layers, diff_ids={"diff_id": wrong, "count": wrong[:1]}.get(fault, []))
    answer = shelf.pull(name)
    words = {
        "diff_id": "failed to register layer: what is in sha256:",
        "tar": "failed to register layer: it is no tar archive",
        "count": "the manifest has 2 layers, the configuration 1",
    }[fault]
    assert words in str(answer[-1]["error"])
    assert shelf.engine.docker("images", "-q", name).out == ""
    assert shelf.content() == before


def test_a_daemon_killed_during_a_pull_leaves_nothing(shelf: Shelf) -> None:
    engine = shelf.engine
    noise = [tar_of({f"{part}/{n}": n.to_bytes(2, "big") * 4_000 for n in range(1500)}) for part in range(3)]
    name = shelf.put("killed:1", noise)
    before = shelf.content()
    marks = [
        lambda: shelf.content()["arriving"],
        lambda: list(shelf.store.glob("arriving/pull-*/blobs/sha256/*")),
        lambda: list(shelf.store.glob("arriving/layers-*/*/diff/*/50")),
        lambda: len(shelf.content()["layers"]) > len(before["layers"]),
        lambda: len(shelf.content()["records"]) > len(before["records"]),
    ]
    for mark in marks:
        pulling = threading.Thread(target=_ignoring, args=(shelf, name))
        pulling.start()
        wait_for(mark, "the moment to kill")
        engine.kill9()
        pulling.join()
        engine.start()
        listed = engine.docker("images", "-aq", "--no-trunc").out.split()
        assert len(listed) == len(shelf.content()["records"])
        # Whatever is listed is whole.
        if len(listed) > len(before["records"]):
            ident = next(one for one in listed if f"{one[7:]}.json" not in before["records"])
            container = engine.docker("create", ident, "x").out.strip()
            engine.docker("rm", container)
            engine.docker("rmi", ident)
        wait_for(lambda: shelf.content() == before, f"the store to be as before: {shelf.content()}")
    assert engine.docker("pull", name).ok


def _ignoring(shelf: Shelf, name: str) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        shelf.pull(name)


def test_a_full_disk(own_berth: Berth, tmp_path: Path) -> None:
    """The store on a small disk of its own: the pull says so and leaves nothing."""
    engine = own_berth
    noise = tar_of({str(n): bytes(range(256)) * 8_000 for n in range(60)})
    with registry_of(engine, tmp_path):
        shelf = Shelf(engine, tmp_path)
        name = shelf.put("large:1", [noise])
        engine.stop()
        engine.host("mount", "-t", "tmpfs", "-o", "size=100m", "none", str(shelf.store))
        try:
            engine.start()
            answer = shelf.pull(name)
            assert "no space left on device" in str(answer[-1]["error"])
            assert engine.docker("images", "-aq").out == ""
            inside = engine.host("find", str(shelf.store), "-type", "f").out.split()
            assert inside == []
        finally:
            engine.stop()
            engine.host("umount", str(shelf.store))
        engine.start()


def test_an_image_is_settled_soon_and_when_the_engine_ends(shelf: Shelf) -> None:
    name = shelf.put("settled:1", [tar_of({"x": b"y"})])
    assert shelf.engine.docker("pull", name).ok
    ident = shelf.engine.docker("image", "inspect", "-f", "{{.Id}}", name).out.strip()
    record = shelf.store / "records" / f"{ident[7:]}.json"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert json.loads(record.read_text())["boot_id"] in (boot, "")
    shelf.engine.stop()
    assert json.loads(record.read_text())["boot_id"] == ""
    # One that another boot wrote and did not settle may be there in part only.
    record.write_text(json.dumps(json.loads(record.read_text()) | {"boot_id": "another"}))
    shelf.engine.start()
    assert ident not in shelf.engine.docker("images", "-aq", "--no-trunc").out
    assert not record.exists()
    assert shelf.engine.docker("pull", name).ok
    wait_for(lambda: json.loads(record.read_text())["boot_id"] == "", "the image to be settled")
