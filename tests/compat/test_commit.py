"""``docker commit``, on both engines: what the image is, what a container of it finds, what is refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import needs_original_20
from tests.support.engines import Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

CHANGES = (
    "echo kept > /kept; chown 5:6 /kept; chmod 4750 /kept; ln /kept /again; ln -s kept /sign; mkfifo /pipe;"
    " rm /etc/group; rm -rf /var/spool; mkdir /var/spool; echo new > /var/spool/new; mkdir -p /a/b; chmod 700 /root;"
    " echo away > /data/away; echo mine > /etc/hosts"
)


@pytest.fixture
def image(place: Engine) -> Iterator[Engine]:
    yield place
    place.wipe_containers()
    for one in place.docker("images", "-q", "-f", "since=busybox").out.split():
        place.docker("rmi", "-f", one, check=False)


def _inspect(engine: Engine, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/v1.41/images/{ref}/json").body
    return found


@pytest.mark.parametrize("program", ["docker", "berth"])
def test_what_a_container_changed_is_in_the_image(image: Engine, program: str) -> None:
    run = image.client(program)
    run(
        "run", "--name", "commit-a", "-e", "A=1", "-l", "x=y", "-p", "80", "-v", "/data", "busybox", "sh", "-c", CHANGES
    )
    said = run(
        "commit", "-a", "me <a@b>", "-m", "a message", "-c", "ENV B=2", "-c", 'ENTRYPOINT ["echo"]', "-c", "WORKDIR /a",
        "commit-a", "made/of:it",
    )  # fmt: skip
    made, base = _inspect(image, "made/of:it"), _inspect(image, "busybox")
    assert said.out == f"{made['Id']}\n"
    assert (made["RepoTags"], made["Parent"]) == (["made/of:it"], base["Id"])
    assert (made["Author"], made["Comment"]) == ("me <a@b>", "a message")
    config = made["Config"]
    assert (config["Entrypoint"], config["Cmd"], config["WorkingDir"]) == (["echo"], None, "/a")
    assert (config["Labels"], config["ExposedPorts"], config["Volumes"]) == ({"x": "y"}, {"80/tcp": {}}, {"/data": {}})
    assert sorted(config["Env"]) == ["A=1", "B=2", "PATH=/bin:/sbin:/usr/bin"]
    assert made["RootFS"]["Layers"][:-1] == base["RootFS"]["Layers"]
    rows = image.api("GET", "/images/made%2Fof:it/history").body
    assert [row["Id"] for row in rows] == [made["Id"], base["Id"]]
    assert (rows[0]["CreatedBy"], rows[0]["Comment"]) == (f"sh -c {CHANGES}", "a message")
    look = (
        "cat /again /sign; ls -ln /kept /again; ls -d /pipe /a/b; ls /etc/group; ls -a /var/spool; stat -c %a /root;"
        " ls /data; grep -c mine /etc/hosts; echo $A$B; pwd"
    )
    seen = image.docker("run", "--rm", "--entrypoint", "sh", "made/of:it", "-c", look, check=False)
    lines = seen.out.splitlines()
    assert lines[:2] == ["kept", "kept"]
    assert [line.split()[:4] for line in lines[2:4]] == [["-rwsr-x---", "2", "5", "6"]] * 2
    assert lines[4:] == ["/a/b", "/pipe", ".", "..", "new", "700", "0", "12", "/a"]
    assert "/etc/group: No such file" in seen.err


def test_names_that_are_no_utf8_are_in_the_image(image: Engine) -> None:
    image.docker("run", "--name", "commit-odd", "busybox", "sh", "-c", "printf odd > $(printf '/tmp/\\377\\303')")
    image.docker("commit", "commit-odd", "odd:names")
    seen = image.docker("run", "--rm", "odd:names", "sh", "-c", "cd /tmp; printf %s * | od -An -tx1; cat *")
    assert seen.out.split() == ["ff", "c3", "odd"]


def test_a_container_that_changed_nothing_adds_no_layer(image: Engine) -> None:
    image.docker("run", "--name", "commit-b", "busybox", "true")
    one = image.docker("commit", "commit-b", "same").out.strip()
    two = image.docker("commit", "-c", "LABEL n=2", "commit-b").out.strip()
    assert one != two
    assert _inspect(image, "same")["RootFS"] == _inspect(image, "busybox")["RootFS"]
    assert image.api("GET", "/images/same/history").body[0]["Size"] == 0
    assert (_inspect(image, two)["RepoTags"], _inspect(image, two)["Config"]["Labels"]["n"]) == ([], "2")
    # A commit of a commit: its history goes all the way down.
    image.docker("run", "--name", "commit-c", "same", "sh", "-c", "echo > /more")
    image.docker("commit", "commit-c", "above")
    rows = image.api("GET", "/images/above/history").body
    assert [(row["Id"], row["Tags"]) for row in rows[:3]] == [
        (_inspect(image, "above")["Id"], ["above:latest"]),
        (one, ["same:latest"]),
        (_inspect(image, "busybox")["Id"], ["busybox:latest"]),
    ]


def test_a_running_container_is_paused_meanwhile_and_goes_on(image: Engine) -> None:
    image.docker("run", "-d", "--name", "commit-d", "busybox", "sleep", "1000")
    since = image.docker("info", "-f", "{{.SystemTime}}").out.strip()
    image.docker("commit", "-m", "held", "commit-d", "held")
    image.docker("commit", "--pause=false", "commit-d", "free")
    until = image.docker("info", "-f", "{{.SystemTime}}").out.strip()
    events = image.docker("events", "--since", since, "--until", until, "--format", "{{json .}}").out.splitlines()
    seen = [one for one in map(json.loads, events) if one["Type"] == "container"]
    # The original unpauses once all is recorded, Berth as soon as the files are read.
    assert sorted(one["Action"] for one in seen) == ["commit", "commit", "pause", "unpause"]
    assert seen[0]["Action"] == "pause"
    told = next(one for one in seen if one["Action"] == "commit")["Actor"]["Attributes"]
    assert (told["comment"], told["imageRef"], told["imageID"]) == (
        "held",
        "held:latest",
        _inspect(image, "held")["Id"],
    )
    assert image.docker("inspect", "-f", "{{.State.Status}}", "commit-d").out == "running\n"
    image.docker("pause", "commit-d")
    image.docker("commit", "commit-d", "paused")
    assert image.docker("inspect", "-f", "{{.State.Status}}", "commit-d").out == "paused\n"


def test_what_is_refused(image: Engine) -> None:
    needs_original_20(image.kind)
    image.docker("create", "--name", "commit-e", "busybox", "true")
    for words, said in (
        (("nosuch",), "No such container: nosuch"),
        (("-c", "RUN x", "commit-e"), "run is not a valid change command"),
        (("-c", "ENV", "commit-e"), "ENV requires at least one argument"),
        (("-c", "HEALTHCHECK --foo=1 CMD x", "commit-e"), "Unknown flag: foo"),
    ):
        done = image.docker("commit", *words, check=False)
        assert (done.code, done.err.strip()) == (1, f"Error response from daemon: {said}")
    answer = image.api("POST", "/commit?container=commit-e&repo=BAD")
    # 20.10 says 500, current Docker 400.
    assert answer.status == (500 if image.kind == "dockerd" else 400)
    assert "must be lowercase" in answer.message
    # The original looks at the name once the image is made, and keeps that.
    assert bool(image.docker("images", "-q", "-f", "since=busybox").out) == (image.kind == "dockerd")


def test_an_image_made_here_travels(image: Engine) -> None:
    image.docker("run", "--name", "commit-f", "busybox", "sh", "-c", "echo far > /far")
    image.docker("commit", "commit-f", "traveller")
    archive = image.root / "traveller.tar"
    image.docker("save", "-o", str(archive), "traveller")
    layers = _inspect(image, "traveller")["RootFS"]
    image.docker("rm", "commit-f")
    image.docker("rmi", "traveller")
    image.docker("load", "-i", str(archive))
    archive.unlink()
    assert _inspect(image, "traveller")["RootFS"] == layers
    assert image.docker("run", "--rm", "traveller", "cat", "/far").out == "far\n"
    wait_for(lambda: image.docker("ps", "-q").out == "", "the container to be gone")
