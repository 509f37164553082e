"""Images between registry, archives and engine: stories told to Berth and to the original alike."""

import base64
import contextlib
import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import ORACLE, Berth, Engine, wait_for

pytestmark = pytest.mark.root

PORT = 5000
REGISTRY = f"127.0.0.1:{PORT}"


@pytest.fixture
def registry(engine: Engine, tmp_path: Path) -> Iterator[str]:
    """A registry on the engine's own loopback; return its name."""
    program = ORACLE / "usr/bin/docker-registry"
    settings = tmp_path / "registry.yml"
    settings.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/registry}}, delete: {{enabled: true}}}}\n"
        f'http: {{addr: "{REGISTRY}"}}\n'
    )
    name = str(program) if program.exists() else shutil.which("docker-registry")
    assert name is not None, "docker-registry is not installed"
    process = subprocess.Popen(
        engine.spaces.inside([name, "serve", str(settings)]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://{REGISTRY}/v2/"
        wait_for(lambda: engine.host("curl", "-sf", url, check=False).ok, "the registry to answer")
        yield REGISTRY
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def names(engine: Engine) -> Iterator[list[str]]:
    """Names of images that go when the test ends."""
    made: list[str] = []
    yield made
    for name in made:
        engine.docker("rmi", "-f", name, check=False)


def lines(answer: object) -> list[dict[str, object]]:
    """Split a progress stream."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def test_push_and_pull(engine: Engine, registry: str, names: list[str]) -> None:
    name = f"{registry}/ship/busybox:1"
    names.append(name)
    ident = engine.docker("image", "inspect", "-f", "{{.Id}}", "busybox").out
    engine.docker("tag", "busybox", name)
    pushed = engine.docker("push", name).out
    assert re.search(r"^1: digest: sha256:[0-9a-f]{64} size: \d+$", pushed, re.MULTILINE)
    assert "Layer already exists" in engine.docker("push", name).out
    digest = re.findall(r"sha256:[0-9a-f]{64}", pushed)[0]

    engine.docker("tag", "busybox", "kept:1")
    names.append("kept:1")
    assert f"Untagged: {name}" in engine.docker("rmi", name).out
    up_to_date = engine.docker("pull", name).out
    assert f"Digest: {digest}" in up_to_date
    assert f"Status: Downloaded newer image for {name}" in up_to_date
    assert f"Status: Image is up to date for {name}" in engine.docker("pull", name).out
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", name).out == ident
    repo_digests = json.loads(engine.docker("image", "inspect", "-f", "{{json .RepoDigests}}", name).out)
    assert repo_digests == [f"{registry}/ship/busybox@{digest}"]
    by_digest = f"{registry}/ship/busybox@{digest}"
    assert engine.docker("pull", by_digest).ok
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", by_digest).out == ident


def test_a_pull_counts_its_bytes(engine: Engine, registry: str, names: list[str], tmp_path: Path) -> None:
    name = f"{registry}/ship/big"
    names.append(name)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as out:
        info = tarfile.TarInfo("noise")
        info.size = 60 << 20
        with Path("/dev/urandom").open("rb") as noise:
            out.addfile(info, noise)
    answer = engine.api("POST", f"/images/create?fromSrc=-&repo={name}&tag=1", tar.getvalue(),
                        headers={"Content-Type": "application/x-tar"})  # fmt: skip
    assert answer.status == 200, answer
    engine.docker("push", f"{name}:1")
    engine.docker("rmi", f"{name}:1")
    pulled = engine.api("POST", f"/images/create?fromImage={name}&tag=1")
    said = lines(pulled.body)
    assert said[0]["status"] == "Pulling from ship/big"
    layers = {str(one["id"]) for one in said if one["status"] == "Pulling fs layer"}
    assert len(layers) == 1
    downloading = [one for one in said if one["status"] == "Downloading"]
    assert downloading
    for one in downloading:
        detail = one["progressDetail"]
        assert isinstance(detail, dict)
        assert 0 <= detail["current"] <= detail["total"]
        assert detail["total"] > 60 << 20
        assert one["id"] in layers
    states = [one["status"] for one in said if one.get("id") in layers and one["status"] != "Downloading"]
    assert states[0] == "Pulling fs layer"
    assert states[-1] == "Pull complete"
    assert "Download complete" in states
    assert str(said[-1]["status"]).startswith("Status: Downloaded newer image for ")


def test_registries_that_refuse(engine: Engine, registry: str) -> None:
    def refused(name: str, tag: str) -> tuple[int, str]:
        answer = engine.api("POST", f"/images/create?fromImage={name}&tag={tag}")
        return answer.status, answer.message

    assert refused(f"{registry}/no/such", "1") == (
        404,
        f"manifest for {registry}/no/such:1 not found: manifest unknown: manifest unknown",
    )
    status, words = refused("127.0.0.1:5999/no/such", "1")
    assert (status, words.endswith("connection refused")) == (500, True)
    status, words = refused(f"{registry}/x", "n@pe")
    assert (status, words) == (400, "invalid tag format")
    status, words = refused("UPPER", "1")
    assert (status, "must be lowercase" in words) == (400, True)


def test_nothing_to_push(engine: Engine, registry: str, names: list[str]) -> None:
    engine.docker("tag", "busybox", f"{registry}/ship/one:1")
    names.append(f"{registry}/ship/one:1")
    for name, words in (
        (f"{registry}/ship/none:1", f"An image does not exist locally with the tag: {registry}/ship/none"),
        (f"{registry}/ship/one:2", f"tag does not exist: {registry}/ship/one:2"),
    ):
        done = engine.docker("push", name, check=False)
        assert (done.ok, words in done.err) == (False, True), done


def test_save_and_load(engine: Engine, names: list[str], tmp_path: Path) -> None:
    engine.docker("tag", "busybox", "boxed:1")
    engine.docker("tag", "busybox", "other.example/boxed:2")
    names += ["boxed:1", "other.example/boxed:2"]
    archive = tmp_path / "both.tar"
    engine.docker("save", "-o", str(archive), "boxed:1", "other.example/boxed:2")
    with tarfile.open(archive) as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        rows = json.loads(manifest.read())
    assert [sorted(row["RepoTags"]) for row in rows] == [["boxed:1", "other.example/boxed:2"]]
    engine.docker("rmi", "boxed:1", "other.example/boxed:2")
    packed = tmp_path / "both.tar.gz"
    packed.write_bytes(gzip.compress(archive.read_bytes(), 1))
    loaded = engine.docker("load", "-i", str(packed)).out
    assert "Loaded image: boxed:1" in loaded
    assert "Loaded image: other.example/boxed:2" in loaded
    assert engine.docker("image", "inspect", "-f", "{{.Id}}", "boxed:1").out == (
        engine.docker("image", "inspect", "-f", "{{.Id}}", "busybox").out
    )


def test_what_one_saves_the_other_loads(berth_engine: Berth, dockerd_engine: Engine, tmp_path: Path) -> None:
    for giver, taker in ((berth_engine, dockerd_engine), (dockerd_engine, berth_engine)):
        name = f"from-{giver.kind}:1"
        giver.docker("tag", "busybox", name)
        archive = tmp_path / f"{giver.kind}.tar"
        giver.docker("save", "-o", str(archive), name)
        try:
            assert f"Loaded image: {name}" in taker.docker("load", "-i", str(archive)).out
            ident = giver.docker("image", "inspect", "-f", "{{.Id}}", name).out
            assert taker.docker("image", "inspect", "-f", "{{.Id}}", name).out == ident
            assert giver.docker("image", "inspect", "-f", "{{.RootFS.Layers}}", name).out == (
                taker.docker("image", "inspect", "-f", "{{.RootFS.Layers}}", name).out
            )
        finally:
            for engine in (giver, taker):
                engine.docker("rmi", name, check=False)


def test_an_oci_layout_is_loaded(berth_engine: Berth, tmp_path: Path) -> None:
    archive = tmp_path / "saved.tar"
    berth_engine.docker("save", "-o", str(archive), "busybox")
    layout = tmp_path / "layout.tar"
    with tarfile.open(archive) as source, tarfile.open(layout, "w") as target:
        for info in source:
            if info.name == "index.json":
                body = source.extractfile(info)
                assert body is not None
                text = body.read().replace(b"docker.io/library/busybox:latest", b"docker.io/library/laid-out:12345")
                target.addfile(info, io.BytesIO(text))
            elif info.name not in {"manifest.json", "repositories"}:
                target.addfile(info, source.extractfile(info) if info.isreg() else None)
    try:
        assert "Loaded image: laid-out:12345" in berth_engine.docker("load", "-i", str(layout)).out
        assert berth_engine.docker("run", "--rm", "laid-out:12345", "echo", "hi").out == "hi\n"
    finally:
        berth_engine.docker("rmi", "laid-out:12345", check=False)


def test_import_with_changes(engine: Engine, names: list[str], tmp_path: Path, busybox: Path) -> None:
    names.append("made:1")
    done = engine.docker(
        "import", "-m", "by hand", "-c", 'CMD ["echo", "made"]', "-c", "ENV A=b PATH=/bin", "-c", "EXPOSE 80",
        "-c", "LABEL kind=made", str(busybox), "made:1",
    )  # fmt: skip
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", done.out)
    shown = json.loads(engine.docker("image", "inspect", "made:1").out)[0]
    config = shown["Config"]
    assert shown["Comment"] == "by hand"
    assert (config["Cmd"], config["Env"], config["Labels"]) == (
        ["echo", "made"],
        ["A=b", "PATH=/bin"],
        {"kind": "made"},
    )
    assert config["ExposedPorts"] == {"80/tcp": {}}
    history = engine.docker("history", "--format", "{{.Comment}}", "made:1").out
    assert history == "by hand\n"
    listed = engine.docker("images", "-q", "--no-trunc", "-f", "label=kind=made").out
    assert listed == shown["Id"] + "\n"
    assert engine.docker("run", "--rm", "made:1").out == "made\n"
    bad = engine.docker("import", "-c", "FOO bar", str(busybox), "made:2", check=False)
    assert "is not a valid change command" in bad.err


def test_names_come_and_go(engine: Engine, names: list[str]) -> None:
    engine.docker("tag", "busybox", "alias:1")
    engine.docker("tag", "busybox", "alias:2")
    names += ["alias:1", "alias:2"]
    short = engine.docker("image", "inspect", "-f", "{{.Id}}", "alias:1").out[7:19]
    listed = engine.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "alias").out.splitlines()
    assert sorted(listed) == [f"alias:1 {short}", f"alias:2 {short}"]
    assert engine.docker("rmi", "alias:1").out == "Untagged: alias:1\n"
    for method, path, status, words in (
        ("GET", "/images/alias:1/json", 404, "No such image: alias:1"),
        ("DELETE", "/images/alias:1", 404, "No such image: alias:1"),
        ("DELETE", f"/images/{short}", 409, "image is referenced in multiple repositories"),
        ("POST", "/images/busybox/tag?repo=x&tag=n@pe", None, "invalid tag format"),
        ("GET", "/images/get?names=nope", 404, "No such image: nope"),
        ("GET", "/images/json?filters=%7B%22foo%22:%5B%221%22%5D%7D", 400, "nvalid filter 'foo'"),
    ):
        answer = engine.api(method, path)
        assert words in answer.message, (path, answer)
        # Docker 20.10 answered 500 to a bad tag, later ones 400.
        assert answer.status == status or (status is None and answer.status in (400, 500))


def test_an_image_in_use_stays(engine: Engine, names: list[str], busybox: Path) -> None:
    names.append("used:1")
    engine.docker("import", "-c", "CMD sleep 600", "-c", "ENV PATH=/bin", str(busybox), "used:1")
    ident = engine.docker("image", "inspect", "-f", "{{.Id}}", "used:1").out.strip()
    container = engine.docker("create", "used:1").out.strip()
    try:
        answer = engine.api("DELETE", "/images/used:1")
        assert (answer.status, answer.message) == (
            409,
            (
                f'conflict: unable to remove repository reference "used:1" (must force) - container {container[:12]} '
                f"is using its referenced image {ident[7:19]}"
            ),
        )
        answer = engine.api("DELETE", f"/images/{ident}")
        assert answer.status == 409
        assert f"(must be forced) - image is being used by stopped container {container[:12]}" in answer.message
        engine.docker("start", container)
        answer = engine.api("DELETE", f"/images/{ident}?force=1")
        assert answer.status == 409
        assert f"(cannot be forced) - image is being used by running container {container[:12]}" in answer.message
        assert engine.docker("rmi", "-f", "used:1").out.startswith("Untagged: used:1")
        assert engine.docker("exec", container, "echo", "alive").out == "alive\n"
    finally:
        engine.docker("rm", "-f", container)
    engine.docker("rmi", ident, check=False)
    assert ident not in engine.docker("images", "-aq", "--no-trunc").out


def test_prune(engine: Engine, busybox: Path) -> None:
    engine.docker("import", "-c", "LABEL one=1", str(busybox), "moving:1")
    first = engine.docker("images", "-q", "--no-trunc", "moving:1").out.strip()
    engine.docker("import", "-c", "LABEL two=2", str(busybox), "moving:1")
    assert first in engine.docker("images", "-q", "--no-trunc", "-f", "dangling=true").out
    answer = engine.api("POST", "/images/prune?filters=%7B%22label%22:%5B%22one%22%5D%7D")
    assert {"Deleted": first} in answer.body["ImagesDeleted"]
    engine.docker("rmi", "moving:1")


@contextlib.contextmanager
def guarded(engine: Engine, port: int) -> Iterator[str]:
    """A registry that wants a user and a password, on the engine's loopback: it knows nothing but its front door."""
    script = (
        "import base64, http.server\n"
        f"good = 'Basic ' + base64.b64encode(b'ann:secret').decode()\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    protocol_version = 'HTTP/1.1'\n"
        "    def do_GET(self):\n"
        "        ok = self.headers.get('Authorization') == good\n"
        "        self.send_response(200 if ok else 401)\n"
        "        if not ok: self.send_header('WWW-Authenticate', 'Basic realm=\"x\"')\n"
        "        self.send_header('Docker-Distribution-Api-Version', 'registry/2.0')\n"
        "        self.send_header('Content-Type', 'application/json')\n"
        "        self.send_header('Content-Length', '2')\n"
        "        self.end_headers()\n"
        "        self.wfile.write(b'{}')\n"
        f"http.server.HTTPServer(('127.0.0.1', {port}), H).serve_forever()\n"
    )
    process = subprocess.Popen(
        engine.spaces.inside(["/usr/bin/python3", "-c", script]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: engine.host("curl", "-s", "-o", "/dev/null", url, check=False).ok, "the front door to open")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def test_credentials_are_checked(engine: Engine) -> None:
    with guarded(engine, 5001) as registry:
        body = {"username": "ann", "password": "secret", "serveraddress": registry}
        answer = engine.api("POST", "/auth", body)
        assert (answer.status, answer.body["Status"]) == (200, "Login Succeeded")
        refused = engine.api("POST", "/auth", body | {"password": "wrong"})
        # Docker 20.10 answered 500 here, later ones 401.
        assert refused.status in (401, 500)
        assert "401 Unauthorized" in refused.message


def test_bad_uploads(engine: Engine) -> None:
    for path in ("/images/load", "/images/create?fromSrc=-&repo=never"):
        answer = engine.api(
            "POST", path, b"this is no archive at all" * 100, headers={"Content-Type": "application/x-tar"}
        )
        failed = answer.status >= 400 or any("error" in line for line in lines(answer.body))
        assert failed, (path, answer)
    auth = base64.urlsafe_b64encode(b"{nonsense").decode()
    answer = engine.api("POST", f"/images/create?fromImage={REGISTRY}/x&tag=1", headers={"X-Registry-Auth": auth})
    assert answer.status >= 400
    assert engine.docker("images", "-q", "never").out == ""


def test_a_client_that_leaves_ends_its_pull(berth_engine: Berth, tmp_path: Path) -> None:
    """The transfer stops, and what had arrived is no image."""
    before = berth_engine.docker("images", "-aq").out
    # A registry that never answers: the request hangs until its client goes.
    script = "import socket, time; s = socket.create_server(('127.0.0.1', 5002)); print(flush=True); time.sleep(600)"
    process = subprocess.Popen(berth_engine.spaces.inside(["/usr/bin/python3", "-c", script]), stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        with pytest.raises(TimeoutError):
            berth_engine.api("POST", "/images/create?fromImage=127.0.0.1:5002/x&tag=1", timeout=1)

        def transfers() -> list[str]:
            done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
            return [line for line in done.stdout.splitlines() if "skopeo" in line and "127.0.0.1:5002" in line]

        wait_for(lambda: not transfers(), f"the transfer to end: {transfers()}")
    finally:
        process.kill()
        process.communicate()
    assert berth_engine.docker("images", "-aq").out == before


def test_bootstrap_busybox(berth_engine: Berth) -> None:
    if not any(Path(path).exists() for path in ("/usr/bin/busybox", "/bin/busybox")):
        pytest.skip("busybox-static is not installed, and the engine's namespace reaches no mirror")
    answer = berth_engine.api("POST", "/berth/images/bootstrap?name=busybox&tag=boot:1")
    try:
        assert answer.status == 200, answer
        assert berth_engine.docker("run", "--rm", "boot:1", "sh", "-c", "id -u && env true && ls /tmp").out == "0\n"
        labels = json.loads(berth_engine.docker("image", "inspect", "-f", "{{json .Config.Labels}}", "boot:1").out)
        assert labels["io.berth.recipe"] == "busybox"
    finally:
        berth_engine.docker("rmi", "boot:1", check=False)
    unknown = berth_engine.api("POST", "/berth/images/bootstrap?name=nope")
    assert (unknown.status, "there are: busybox, debian" in unknown.message) == (404, True)
