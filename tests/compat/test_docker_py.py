"""docker-py, as programs use it, on both engines: networks, volumes, containers, errors by class."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import APIError, ContainerError, ImageNotFound, NotFound

from tests.support.engines import Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]


@pytest.fixture
def client(engine: Engine) -> Iterator[Any]:
    one = docker.DockerClient(base_url=f"unix://{engine.socket}", version="auto", timeout=180)
    yield one
    for container in one.containers.list(all=True):
        container.remove(force=True, v=True)
    for network in one.networks.list(names=["py"]):
        network.remove()
    for volume in one.volumes.list():
        if volume.name.startswith("py"):
            volume.remove(force=True)
    one.close()


def test_the_engine_answers(client: Any) -> None:
    assert client.ping() is True
    assert client.version()["Os"] == "linux"
    info = client.info()
    assert {"Containers", "Driver", "NCPU", "MemTotal", "OperatingSystem"} <= set(info)
    assert set(client.df()) >= {"Volumes", "Images", "Containers", "LayersSize"}


def test_running_to_the_end(client: Any) -> None:
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    out = client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, stderr=True)
    assert sorted(out.split()) == [b"err", b"out"]
    with pytest.raises(ContainerError) as caught:
        client.containers.run("busybox", ["sh", "-c", "exit 3"], remove=True)
    assert caught.value.exit_status == 3
    assert client.containers.list(all=True) == []


def test_errors_have_their_classes(client: Any) -> None:
    for ask in (client.containers.get, client.networks.get, client.volumes.get):
        with pytest.raises(NotFound):
            ask("nosuch")
    with pytest.raises(ImageNotFound):
        client.images.get("nosuch")
    with pytest.raises(ImageNotFound):
        client.containers.create("nosuch")
    client.networks.create("pynet", check_duplicate=True)
    with pytest.raises(APIError) as caught:
        client.networks.create("pynet", check_duplicate=True)
    assert (caught.value.status_code, caught.value.is_client_error()) == (409, True)


def test_a_container_through_its_life(client: Any) -> None:
    script = "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done"
    settings = {"name": "pybox", "labels": {"a": "b"}, "environment": {"K": "v"}, "stop_signal": "TERM"}
    one = client.containers.create("busybox", ["sh", "-c", script], **settings)
    assert (one.status, one.name, one.labels) == ("created", "pybox", {"a": "b"})
    one.start()
    assert next(one.logs(stream=True, follow=True)) == b"up\n"
    one.reload()
    assert one.status == "running"
    code, out = one.exec_run(["sh", "-c", "echo $K; exit 4"])
    assert (code, out) == (4, b"v\n")
    code, (out, err) = one.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True)
    assert (code, out, err) == (0, b"o\n", b"e\n")
    assert [row[-1].split()[0] for row in one.top()["Processes"]][:1] == ["sh"]
    assert {"cpu_stats", "precpu_stats", "memory_stats"} <= set(one.stats(stream=False))
    one.pause()
    one.reload()
    assert one.status == "paused"
    one.unpause()
    one.rename("pyrenamed")
    one.stop(timeout=60)
    assert one.wait()["StatusCode"] == 5
    assert one.logs() == b"up\n"
    assert [found.name for found in client.containers.list(all=True, filters={"label": "a=b"})] == ["pyrenamed"]
    one.restart(timeout=0)
    one.remove(force=True)
    with pytest.raises(NotFound):
        one.reload()


def test_networks(client: Any) -> None:
    pool = docker.types.IPAMPool(subnet="10.175.0.0/24", gateway="10.175.0.1")
    net = client.networks.create("pynet", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]))
    one = client.containers.run("busybox", "sleep 600", detach=True, network="pynet", name="pyone")
    two = client.containers.run("busybox", "sleep 600", detach=True, name="pytwo")
    net.connect(two, aliases=["nick"], ipv4_address="10.175.0.77")
    net.reload()
    assert {container.name for container in net.containers} == {"pyone", "pytwo"}
    for name in ("pytwo", "nick"):
        code, out = one.exec_run(["ping", "-c", "1", "-w", "30", name])
        assert code == 0, out
        assert b"10.175.0.77" in out
    with pytest.raises(APIError) as caught:
        net.remove()
    assert caught.value.status_code == 403
    net.disconnect(two)
    assert one.exec_run(["ping", "-c", "1", "-w", "2", "nick"])[0] != 0
    one.remove(force=True)
    net.remove()


def test_volumes(client: Any, tmp_path: Path) -> None:
    volume = client.volumes.create("pyvol", labels={"k": "v"})
    assert (volume.name, volume.attrs["Driver"], volume.attrs["Labels"]) == ("pyvol", "local", {"k": "v"})
    mounts = [docker.types.Mount("/m", "pyvol"), docker.types.Mount("/t", "", type="tmpfs", tmpfs_size="1m"),
              docker.types.Mount("/b", str(tmp_path), type="bind", read_only=True)]  # fmt: skip
    (tmp_path / "seen").write_text("host\n")
    out = client.containers.run("busybox", ["sh", "-c", "echo in >/m/f; cat /b/seen; touch /b/x || echo refused"],
                                mounts=mounts, remove=True)  # fmt: skip
    assert out == b"host\nrefused\n"
    out = client.containers.run("busybox", "cat /d/f", volumes={"pyvol": {"bind": "/d", "mode": "ro"}}, remove=True)
    assert out == b"in\n"
    user = client.containers.create("busybox", volumes=["pyvol:/x"])
    with pytest.raises(APIError) as caught:
        volume.remove()
    assert (caught.value.status_code, "volume is in use" in caught.value.explanation) == (409, True)
    user.remove()
    assert [one.name for one in client.volumes.list(filters={"label": "k=v"})] == ["pyvol"]
    volume.remove()


def test_files_in_and_out(client: Any) -> None:
    one = client.containers.create("busybox", "cat /tmp/put", volumes=["pyfiles:/v"])
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        info = tarfile.TarInfo("put")
        info.size = 4
        tar.addfile(info, io.BytesIO(b"text"))
    assert one.put_archive("/tmp", archive.getvalue())
    assert one.put_archive("/v", archive.getvalue())
    stream, stat = one.get_archive("/v/put")
    assert stat["name"] == "put"
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as tar:
        member = tar.extractfile("put")
        assert member is not None
        assert member.read() == b"text"
    one.start()
    one.wait()
    assert one.logs() == b"text"


def test_events(client: Any) -> None:
    flow = client.events(decode=True, filters={"type": "volume"})
    client.volumes.create("pyevent")
    seen = next(flow)
    assert (seen["Action"], seen["Actor"]["ID"]) == ("create", "pyevent")
    flow.close()
