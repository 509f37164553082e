"""Every flag of `docker volume`, and every rule by which a volume goes or stays, on both engines."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, Engine

pytestmark = pytest.mark.root

_ANONYMOUS = re.compile("[0-9a-f]{64}")


def names(engine: Engine) -> set[str]:
    return {one["Name"] for one in engine.api("GET", "/volumes").body["Volumes"] or ()}


@pytest.fixture
def place(engine: Engine) -> Iterator[Engine]:
    if engine.api("GET", "/images/volimage/json").status == 404:
        _image_with_a_volume(engine)
    before = names(engine)
    yield engine
    engine.wipe_containers()
    for name in names(engine) - before:
        engine.api("DELETE", f"/volumes/{name}")
    engine.api("DELETE", "/berth/volume-trash")  # dockerd has no such page


def _image_with_a_volume(engine: Engine) -> None:
    ident = engine.docker("create", "busybox").out.strip()
    engine.docker("export", "-o", str(engine.root / "volimage.tar"), ident)
    engine.docker("rm", ident)
    engine.docker("import", "-c", 'VOLUME ["/fromimage"]', "-c", "ENV PATH=/bin", str(engine.root / "volimage.tar"),
                  "volimage")  # fmt: skip


def made(engine: Engine, *words: str) -> tuple[str, set[str]]:
    """Create a container; return its id and its anonymous volumes."""
    ident = engine.docker("create", *words).out.strip()
    mounts = engine.api("GET", f"/containers/{ident}/json").body["Mounts"]
    return ident, {mount["Name"] for mount in mounts if _ANONYMOUS.fullmatch(mount.get("Name", ""))}


#: The ways a container gets a volume nobody named.
_WAYS = {
    "-v": ("-v", "/anon", "busybox"),
    "--mount": ("--mount", "type=volume,target=/anon", "busybox"),
    "image": ("volimage", "true"),
}


@pytest.mark.parametrize("way", _WAYS)
def test_anonymous_volumes_go_with_rm_v_and_stay_without(place: Engine, way: str) -> None:
    before = names(place)
    ident, own = made(place, "-v", "named:/n", *_WAYS[way])
    assert len(own) == 1
    place.docker("rm", ident)
    assert names(place) == before | own | {"named"}
    ident, others = made(place, "-v", "named:/n", *_WAYS[way])
    assert others != own, "a new container has a new one"
    place.docker("rm", "-v", ident)
    assert names(place) == before | own | {"named"}
    place.docker("rm", "-f", "-v", place.docker("run", "-d", "-v", "/anon", "busybox", "sleep", "600").out.strip())
    assert names(place) == before | own | {"named"}


@pytest.mark.parametrize("way", _WAYS)
def test_anonymous_volumes_go_with_run_rm(place: Engine, way: str) -> None:
    before = names(place)
    words = _WAYS[way] if _WAYS[way][-1] == "true" else (*_WAYS[way], "true")
    place.docker("run", "--rm", "-v", "named:/n", *words)
    assert names(place) == before | {"named"}


def test_an_inherited_anonymous_volume_goes_with_its_last_container(place: Engine) -> None:
    before = names(place)
    first, own = made(place, "-v", "/anon", "-v", "named:/n", "busybox")
    second, inherited = made(place, "--volumes-from", first, "busybox")
    assert inherited == own
    place.docker("rm", "-v", first)
    assert names(place) == before | own | {"named"}
    place.docker("rm", "-v", second)
    assert names(place) == before | {"named"}


def test_create(place: Engine) -> None:
    made = place.docker("volume", "create", "--driver", "local", "--label", "a=b", "--label", "c", "-o", "type=tmpfs",
                        "--opt", "device=tmpfs", "--opt", "o=size=1m", "full")  # fmt: skip
    assert made.out == "full\n"
    shown = place.api("GET", "/volumes/full").body
    assert (shown["Driver"], shown["Scope"], shown["Labels"]) == ("local", "local", {"a": "b", "c": ""})
    assert shown["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    again = place.docker("volume", "create", "--label", "other=1", "full")
    assert again.out == "full\n"
    assert place.api("GET", "/volumes/full").body["Labels"] == {"a": "b", "c": ""}, "what is there stays"
    assert _ANONYMOUS.fullmatch(place.docker("volume", "create").out.strip())
    assert place.docker("volume", "create", "--name", "flagged").out == "flagged\n"
    refused = place.docker("volume", "create", "x", check=False)
    assert (refused.code, "at least two alphanumeric characters" in refused.err) == (1, True)


def test_ls(place: Engine) -> None:
    place.docker("volume", "create", "--label", "ls=1", "--label", "kind=a", "lsone")
    place.docker("volume", "create", "--label", "ls=1", "lstwo")
    place.docker("create", "-v", "lsone:/x", "busybox")

    def listed(*words: str) -> list[str]:
        return place.docker("volume", "ls", "-q", *words).out.split()

    assert listed("-f", "label=ls") == ["lsone", "lstwo"]
    assert listed("--filter", "label=ls=1", "-f", "label=kind=a") == ["lsone"]
    assert listed("-f", "label=ls=2") == []
    assert listed("-f", "name=stw") == ["lstwo"]
    assert listed("-f", "name=^ls.*e$", "-f", "name=lstw") == ["lsone", "lstwo"]
    assert listed("-f", "name=^sone") == listed("-f", "name=lsone(") == []
    assert listed("-f", "label=ls", "-f", "dangling=true") == ["lstwo"]
    assert listed("-f", "label=ls", "-f", "dangling=false") == ["lsone"]
    assert listed("-f", "label=ls", "-f", "driver=local") == ["lsone", "lstwo"]
    assert listed("-f", "driver=nosuch") == []
    form = '{{.Name}} {{.Driver}} {{.Scope}} {{.Label "kind"}}'
    assert place.docker("volume", "ls", "-f", "name=lsone", "--format", form).out == "lsone local local a\n"
    rows = place.docker("volume", "ls", "-f", "label=ls", "--format", "json").out.splitlines()
    assert [json.loads(row)["Name"] for row in rows] == ["lsone", "lstwo"]
    table = place.docker("volume", "ls", "-f", "name=lsone").out
    assert re.fullmatch(r"DRIVER +VOLUME NAME\nlocal +lsone\n", table)
    refused = place.docker("volume", "ls", "-f", "bad=x", check=False)
    assert (refused.code, "invalid filter 'bad'" in refused.err.lower()) == (1, True)


def test_inspect(place: Engine) -> None:
    place.docker("volume", "create", "seen")
    assert place.docker("volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "seen").out == "seen local\n"
    (shown,) = json.loads(place.docker("volume", "inspect", "seen").out)
    assert set(shown) == {"CreatedAt", "Driver", "Labels", "Mountpoint", "Name", "Options", "Scope"}
    mixed = place.docker("volume", "inspect", "nosuch", "seen", check=False)
    assert (mixed.code, [one["Name"] for one in json.loads(mixed.out)]) == (1, ["seen"])
    assert "get nosuch: no such volume" in mixed.err
    slashed = place.docker("volume", "inspect", "some/where", check=False)
    assert (slashed.code, "get some/where: no such volume" in slashed.err) == (1, True)


def test_a_large_body(place: Engine) -> None:
    large = "x" * (3 << 20)
    assert place.api("POST", "/volumes/create", {"Name": "large", "Labels": {"k": large, "none": None}}).status == 201
    assert place.api("GET", "/volumes/large").body["Labels"] == {"k": large, "none": ""}


def test_rm(place: Engine) -> None:
    for name in ("one", "two", "three"):
        place.docker("volume", "create", f"rm{name}")
    done = place.docker("volume", "rm", "rmone", "nosuch", "rmtwo", check=False)
    assert (done.code, done.out) == (1, "rmone\nrmtwo\n")
    assert "get nosuch: no such volume" in done.err
    forced = place.docker("volume", "rm", "-f", "nosuch", "rmthree")
    assert forced.out == "nosuch\nrmthree\n"
    assert not {name for name in names(place) if name.startswith("rm")}
    place.docker("volume", "create", "rmone")
    assert list(Path(place.api("GET", "/volumes/rmone").body["Mountpoint"]).iterdir()) == []


def test_prune_of_old_clients(place: Engine) -> None:
    place.docker("volume", "create", "--label", "keep", "kept")
    place.docker("volume", "create", "--label", "go=1", "going")
    place.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "optioned")
    place.docker("create", "--name", "user", "-v", "used:/u", "-v", "/anon", "busybox")
    loose = place.docker("volume", "create").out.strip()

    def prune(filters: str) -> set[str]:
        gone = place.api("POST", f"/v1.41/volumes/prune?filters={filters}").body["VolumesDeleted"] or []
        return {name for name in gone if name in everything}

    everything = names(place)
    assert prune("%7B%22label%22%3A%5B%22go%3D2%22%5D%7D") == set()
    assert prune("%7B%22label%22%3A%5B%22go%3D1%22%5D%7D") == {"going"}
    assert "kept" not in prune("%7B%22label%21%22%3A%5B%22keep%22%5D%7D")
    assert loose not in names(place)
    everything = names(place)
    assert prune("") == {"kept"}
    assert names(place) >= {"optioned", "used"}


def test_prune_of_new_clients_spares_names(berth_engine: Berth) -> None:
    """Version 1.42 of the API, which the original at hand does not speak: after its text."""
    engine = berth_engine
    engine.docker("volume", "create", "spared")
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "optioned")
    engine.docker("create", "--name", "user", "-v", "used:/u", "busybox")
    loose = [engine.docker("volume", "create", "--label", f"n={n}").out.strip() for n in range(3)]
    try:
        assert loose[0] in engine.docker("volume", "prune", "-f", "--filter", "label=n=0").out
        assert loose[1] in engine.docker("volume", "prune", "-f", "--filter", "label!=n=2").out
        assert loose[2] in names(engine)
        assert loose[2] in engine.docker("volume", "prune", "--force").out
        assert names(engine) >= {"spared", "optioned", "used"}
        assert "spared" in engine.docker("volume", "prune", "-a", "-f").out
        assert names(engine) >= {"optioned", "used"}
        update = engine.docker("volume", "update", "used", "--availability", "drain", check=False)
        assert update.code == 1
        assert "volume" in update.err
    finally:
        engine.wipe_containers()
        for name in ("optioned", "used"):
            engine.api("DELETE", f"/volumes/{name}")
        engine.api("DELETE", "/berth/volume-trash")


@pytest.fixture
def project(place: Engine, tmp_path: Path) -> tuple[Engine, Path]:
    (tmp_path / "compose.yaml").write_text(
        "name: rules\n"
        "services: {a: {image: busybox, init: true, command: sleep 1000, volumes: [data:/d, ext:/e, /anon]}}\n"
        "volumes: {data: {}, ext: {external: true}}\n"
    )
    place.docker("volume", "create", "ext")
    return place, tmp_path


def test_compose_down_v_and_rm_v(project: tuple[Engine, Path]) -> None:
    engine, home = project

    def compose(*words: str) -> None:
        engine.berth("compose", *words, cwd=home, timeout=240)

    before = names(engine)
    compose("up", "-d")
    anonymous = {name for name in names(engine) - before if _ANONYMOUS.fullmatch(name)}
    assert (len(anonymous), "rules_data" in names(engine)) == (1, True)
    compose("rm", "-s", "-f")
    assert names(engine) == before | anonymous | {"rules_data"}, "rm leaves both"
    compose("up", "-d")
    compose("rm", "-s", "-f", "-v")
    assert names(engine) == before | anonymous | {"rules_data"}, "rm -v takes its anonymous one"
    compose("up", "-d")
    compose("down", "-t", "0")
    assert "rules_data" in names(engine)
    left = names(engine) - before - {"rules_data"}
    compose("up", "-d")
    compose("down", "-v", "-t", "0")
    assert names(engine) == before | left, "down -v takes the project's own and the anonymous ones, not external ones"


def test_compose_with_protected_and_renamed_volumes(berth_engine: Berth, tmp_path: Path) -> None:
    text = "name: kept\nservices: {a: {image: busybox, init: true, command: sleep 1000, volumes: [data:/d]}}\n"
    file = tmp_path / "compose.yaml"
    file.write_text(text + "volumes: {data: {}}\n")

    def compose(*words: str, check: bool = True) -> str:
        done = berth_engine.berth("compose", *words, cwd=tmp_path, check=check, timeout=240)
        return done.out + done.err

    try:
        compose("up", "-d")
        compose("exec", "-T", "a", "sh", "-c", "echo precious >/d/f")
        berth_engine.berth("volume", "rename", "kept_data", "kept_moved")
        assert compose("exec", "-T", "a", "cat", "/d/f") == "precious\n"
        file.write_text(text + "volumes: {data: {name: kept_moved}}\n")
        compose("up", "-d")
        assert compose("exec", "-T", "a", "cat", "/d/f") == "precious\n"
        assert "kept_data" not in names(berth_engine)
        berth_engine.berth("volume", "protect", "kept_moved")
        refused = compose("down", "-v", "-t", "0", check=False)
        assert "volume is protected" in refused
        assert "kept_moved" in names(berth_engine)
        berth_engine.berth("volume", "unprotect", "kept_moved")
        compose("down", "-v", "-t", "0")
        assert "kept_moved" not in names(berth_engine)
        assert berth_engine.berth("volume", "trash", "restore", "kept_moved").out == "kept_moved\n"
    finally:
        berth_engine.berth("volume", "unprotect", "kept_moved", check=False)
        berth_engine.berth("compose", "down", "-v", "-t", "0", cwd=tmp_path, check=False)
        berth_engine.api("DELETE", "/volumes/kept_moved")
        berth_engine.api("DELETE", "/berth/volume-trash")
