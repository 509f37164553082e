"""Where plugins are found, and what is said of files that cannot be used."""

import socket
from pathlib import Path

import pytest

from berth.base.errors import EngineError, Kind
from berth.plugins.discovery import Places
from berth.plugins.errors import BadPluginFile, PluginNotFound


def listening(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.fixture
def places(tmp_path: Path) -> Places:
    for name in ("run", "own", "etc", "lib"):
        (tmp_path / name).mkdir()
    return Places((tmp_path / "own", tmp_path / "run"), (tmp_path / "etc", tmp_path / "lib"))


def test_a_socket_by_its_name_or_in_a_directory_of_its_name(places: Places, tmp_path: Path) -> None:
    listening(tmp_path / "run/one.sock")
    listening(tmp_path / "run/two/two.sock")
    assert places.find("one").address == f"unix://{tmp_path}/run/one.sock"
    assert places.find("two").address == f"unix://{tmp_path}/run/two/two.sock"
    assert places.names() == ("one", "two")


def test_the_first_directory_and_sockets_before_files_win(places: Places, tmp_path: Path) -> None:
    (tmp_path / "etc/one.spec").write_text("tcp://127.0.0.1:1")
    (tmp_path / "lib/one.spec").write_text("tcp://127.0.0.1:2")
    assert places.find("one").address == "tcp://127.0.0.1:1"
    listening(tmp_path / "run/one.sock")
    assert places.find("one").address.endswith("/run/one.sock")
    listening(tmp_path / "own/one.sock")
    assert places.find("one").address.endswith("/own/one.sock")


def test_what_is_no_socket_is_passed_over(places: Places, tmp_path: Path) -> None:
    (tmp_path / "run/one.sock").write_text("")
    (tmp_path / "etc/one.spec").mkdir()
    with pytest.raises(PluginNotFound):
        places.find("one")


def test_a_socket_made_anew_is_another_plugin(places: Places, tmp_path: Path) -> None:
    listening(tmp_path / "run/one.sock")
    before = places.find("one")
    assert places.find("one") == before
    (tmp_path / "run/one.sock").unlink()
    (tmp_path / "run/between").write_text("")  # takes the freed inode
    listening(tmp_path / "run/one.sock")
    assert places.find("one") != before


def test_json_files_with_tls(places: Places, tmp_path: Path) -> None:
    (tmp_path / "etc/one").mkdir()
    (tmp_path / "etc/one/one.json").write_text(
        '{"Name": "ignored", "Addr": "https://127.0.0.1:9", "TLSConfig": {"CAFile": "/ca", "CertFile": "/c"}}'
    )
    found = places.find("one")
    assert found.address == "https://127.0.0.1:9"
    assert found.tls is not None
    assert (found.tls.ca_file, found.tls.cert_file, found.tls.insecure) == ("/ca", "/c", False)
    (tmp_path / "lib/two.json").write_text('{"Addr": "https://127.0.0.1:9", "TLSConfig": {}}')
    two = places.find("two").tls
    assert two is not None
    assert two.insecure, "without an authority there is nothing to check against, as in Docker"


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../../etc/passwd", "nul\0"])
def test_a_name_never_leads_out_of_the_directories(places: Places, name: str) -> None:
    with pytest.raises(EngineError) as caught:
        places.find(name)
    assert caught.value.kind is Kind.NOT_FOUND
    assert str(caught.value) == f'plugin "{name}" not found'


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("spec", ""),
        ("spec", "gopher://x"),
        ("spec", "unix://"),
        ("spec", "tcp:///path"),
        ("json", "{"),
        ("json", "[]"),
        ("json", '{"Addr": 5}'),
        ("json", "{}"),
    ],
)
def test_a_bad_file_is_named(places: Places, tmp_path: Path, ending: str, text: str) -> None:
    path = tmp_path / f"etc/bad.{ending}"
    path.write_text(text)
    with pytest.raises(BadPluginFile, match=str(path)):
        places.find("bad")
    assert places.names() == ("bad",)
