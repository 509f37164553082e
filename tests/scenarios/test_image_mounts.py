"""Images as mounts: their files, read-only, and the image stays while a container has it. Newer than dockerd 20.10."""

import io
import json
import tarfile
from collections.abc import Iterator
from hashlib import sha256

import pytest

from tests.support.clients import needs_client
from tests.support.engines import Berth, import_tree, wait_for

pytestmark = pytest.mark.root


def archive(name: str, layers: list[bytes]) -> bytes:
    """Pack an image as ``docker save`` does."""
    ids = [f"sha256:{sha256(layer).hexdigest()}" for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "history": [{} for _ in layers],
              "rootfs": {"type": "layers", "diff_ids": ids}}  # fmt: skip
    files = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": list(files)}]
    return tree(files | {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()})


def tree(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
        for path, to in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, to
            tar.addfile(info)
    return data.getvalue()


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    import_tree(
        berth_engine, "shelf", tree({"site/index": b"page\n", "one": b"1\n"}, {"out": "/etc", "site/up": "../one"})
    )
    yield berth_engine
    berth_engine.wipe_containers()
    berth_engine.api("DELETE", "/images/shelf?force=1")


def test_an_image_is_seen_and_cannot_be_written(berth: Berth) -> None:
    mount = ("--mount", "type=image,source=shelf,target=/i")
    assert berth.docker("run", "--rm", *mount, "busybox", "cat", "/i/site/index").out == "page\n"
    done = berth.docker("run", "--rm", *mount, "busybox", "touch", "/i/new", check=False)
    assert "Read-only file system" in done.err
    # writing is refused through another name of it, too
    done = berth.docker(
        "run", "--rm", "--privileged", *mount, "busybox", "mount", "-o", "remount,rw", "/i", check=False
    )
    assert not done.ok
    wait_for(lambda: not berth.leaks(), "nothing to be left")


def test_part_of_an_image(berth: Berth) -> None:
    needs_client(28, "image-subpath")
    part = "type=image,source=shelf,target=/i,image-subpath={}"
    run = ("run", "--rm", "--mount")
    assert berth.docker(*run, part.format("site"), "busybox", "ls", "/i").out == "index\nup\n"
    assert berth.docker(*run, part.format("one").replace("/i,", "/etc/one,"), "busybox", "cat", "/etc/one").out == "1\n"
    for bad, words in (("out", "leads out"), ("nosuch", "No such file"), ("site/up/../../../etc", "")):
        refused = berth.docker(*run, part.format(bad), "busybox", "ls", "/i", check=False)
        assert refused.code in (125, 127), refused
        assert words in refused.err
    wait_for(lambda: not berth.leaks(), "nothing to be left")


def test_inspection_names_the_image(berth: Berth) -> None:
    ident = berth.docker("create", "--mount", "type=image,source=shelf,target=/i", "busybox").out.strip()
    (shown,) = berth.api("GET", f"/containers/{ident}/json").body["Mounts"]
    assert (shown["Type"], shown["Name"], shown["Destination"], shown["RW"]) == ("image", "shelf", "/i", False)


def test_a_mounted_image_stays(berth: Berth) -> None:
    ident = berth.docker(
        "create", "--mount", "type=image,source=shelf,target=/i", "busybox", "cat", "/i/one"
    ).out.strip()
    image = berth.api("GET", "/images/shelf/json").body["Id"]
    assert berth.api("DELETE", f"/images/{image}").status == 409
    berth.api("POST", '/images/prune?filters={"dangling":["false"]}')
    assert berth.docker("start", "-a", ident).out == "1\n"
    berth.docker("cp", f"{ident}:/i/one", "-")
    berth.docker("rm", ident)
    assert berth.api("DELETE", f"/images/{image}").status == 200


def test_no_such_image(berth: Berth) -> None:
    answer = berth.api("POST", "/containers/create", {
        "Image": "busybox", "HostConfig": {"Mounts": [{"Type": "image", "Source": "nosuch", "Target": "/i"}]},
    })  # fmt: skip
    assert (answer.status, answer.message) == (404, "No such image: nosuch:latest")


def test_what_an_upper_layer_removed_is_not_seen(berth: Berth) -> None:
    layers = [tree({"etc/kept": b"low\n", "etc/gone": b"low\n"}), tree({"etc/.wh.gone": b"", "etc/more": b"up\n"})]
    answer = berth.api("POST", "/images/load", archive("twofold:latest", layers),
                       headers={"Content-Type": "application/x-tar"})  # fmt: skip
    assert answer.status == 200, answer
    run = ("run", "--rm", "--mount", "type=image,source=twofold,target=/i", "busybox", "ls", "/i/etc")
    assert berth.docker(*run).out == "kept\nmore\n"
    berth.api("DELETE", "/images/twofold?force=1")


def test_a_killed_engine_lets_go_of_images_when_their_container_ends(own_berth: Berth) -> None:
    import_tree(own_berth, "shelf", tree({"one": b"1\n"}))
    ident = own_berth.docker(
        "run", "-d", "--mount", "type=image,source=shelf,target=/i", "busybox", "sleep", "1000"
    ).out.strip()
    pins = own_berth.layout.pins(ident)
    assert str(pins) in own_berth.host("cat", "/proc/self/mountinfo").out
    own_berth.kill9()
    own_berth.start()
    assert own_berth.docker("exec", ident, "cat", "/i/one").out == "1\n"
    own_berth.docker("rm", "-f", ident)
    wait_for(lambda: not own_berth.leaks(), "the image's mount to go")
