"""The HTTP client against an engine that is a script of answers on a socket pair."""

import json
import socket
import threading
from pathlib import Path

import pytest

from berth.client.config import HUB, Settings, registry_of
from berth.client.errors import ApiError, BadHost, ConnectionBroken
from berth.client.host import split_host
from berth.client.http import Client, encode_query, part


class Script:
    """Answers requests with prepared bytes, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.answers: list[bytes] = []
        self.connections = 0

    def connect(self, _host: str, _timeout: float | None) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.connections += 1
        threading.Thread(target=self._serve, args=(ours,), daemon=True).start()
        return theirs

    def _serve(self, peer: socket.socket) -> None:
        with peer:
            self._talk(peer)

    def _talk(self, peer: socket.socket) -> None:
        data = b""
        while self.answers:
            while b"\r\n\r\n" not in data:
                piece = peer.recv(65_536)
                if not piece:
                    return
                data += piece
            head, _, data = data.partition(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"Content-Length" in line), 0)
            chunked = b"chunked" in head
            while len(data) < length or (chunked and not data.endswith(b"0\r\n\r\n")):
                data += peer.recv(65_536)
            body, data = (data, b"") if chunked else (data[:length], data[length:])
            self.asked.append(head + b"\n\n" + body)
            answer = self.answers.pop(0)
            peer.sendall(answer)
            if b"101 " in answer:
                peer.sendall(peer.recv(100).upper())
                return


@pytest.fixture
def engine() -> Script:
    return Script()


@pytest.fixture
def client(engine: Script) -> Client:
    return Client("unix:///engine", connect=engine.connect)


def ok(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"


def test_one_connection_serves_many_requests(client: Client, engine: Script) -> None:
    engine.answers = [
        ok(b'{"a":1}', "Api-Version: 1.47"),
        CHUNKED + b"4\r\n[1,2\r\n1\r\n]\r\n0\r\n\r\n",
        ok(b"", status="204 X"),
    ]
    assert client.get("/x", {"all": True, "no": None}) == {"a": 1}
    assert client.post("/y", None, {"b": "ä"}) == [1, 2]
    assert client.delete("/z") is None
    assert engine.connections == 1
    assert engine.asked[0].startswith(b"GET /x?all=1 HTTP/1.1\r\n")
    assert json.loads(engine.asked[1].partition(b"\n\n")[2]) == {"b": "ä"}
    assert client.api_version() == (1, 47)


def test_a_connection_the_engine_closed_meanwhile_is_not_used(client: Client, engine: Script) -> None:
    engine.answers = [ok(b"1")]
    assert client.get("/a") == 1
    while client._idle is not None and client._idle.fresh():
        pass
    engine.answers = [ok(b"2")]
    assert client.get("/b") == 2
    assert engine.connections == 2


def test_errors_carry_status_and_words(client: Client, engine: Script) -> None:
    engine.answers = [ok(b'{"message":"no such thing\\n"}', status="404 Not Found"), ok(b"plain words", status="500 X")]
    with pytest.raises(ApiError) as caught:
        client.get("/x")
    assert (caught.value.status, caught.value.message) == (404, "no such thing")
    with pytest.raises(ApiError, match="plain words"):
        client.get("/x")
    assert engine.connections == 1


def test_a_stream_is_read_as_it_comes(client: Client, engine: Script) -> None:
    engine.answers = [CHUNKED + b'b\r\n{"a":1}\r\n{"\r\n7\r\na":2}\r\n\r\n0\r\n\r\n']
    assert list(client.stream("POST", "/x").records()) == [{"a": 1}, {"a": 2}]


def test_an_answer_that_ends_early_is_an_error(client: Client, engine: Script) -> None:
    engine.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]
    with pytest.raises(ConnectionBroken):
        client.get("/x")


def test_a_file_is_sent_in_chunks(client: Client, engine: Script, tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"tar" * 3)
    engine.answers = [ok(b"")]
    with file.open("rb") as source:
        client.post("/images/load", None, source)
    assert engine.asked[0].endswith(b"9\r\ntartartar\r\n0\r\n\r\n")
    assert b"Content-Type: application/x-tar" in engine.asked[0]


def test_a_hijacked_connection_is_raw(client: Client, engine: Script) -> None:
    engine.answers = [b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\nearly"]
    link = client.hijack("POST", "/attach")
    assert link.read() == b"early"
    link.sock.sendall(b"hello")
    assert link.read() == b"HELLO"
    link.half_close()
    assert link.read() == b""
    link.close()
    assert b"Upgrade: tcp" in engine.asked[0]


def test_addresses() -> None:
    assert split_host("unix:///a/b") == ("unix", "/a/b", 0)
    assert split_host("/a/b") == ("unix", "/a/b", 0)
    assert split_host("tcp://h:1") == ("tcp", "h", 1)
    assert split_host("tcp://[::1]:1/") == ("tcp", "::1", 1)
    assert split_host("h:2") == ("tcp", "h", 2)
    with pytest.raises(BadHost):
        split_host("ssh://h")


def test_the_host_is_the_flag_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///docker")
    monkeypatch.delenv("BERTH_HOST", raising=False)
    assert Client().host == "unix:///docker"
    monkeypatch.setenv("BERTH_HOST", "unix:///berth")
    assert Client().host == "unix:///berth"
    assert Client("unix:///flag").host == "unix:///flag"


def test_queries() -> None:
    assert encode_query({"filters": {"name": ["a b"]}, "names": ["x", "y/z"], "t": 0}) == (
        "?filters=%7B%22name%22:%5B%22a%20b%22%5D%7D&names=x&names=y/z&t=0"
    )
    assert encode_query(None) == ""
    assert part("a/b ä") == "a%2Fb%20%C3%A4"


def test_logins_are_kept_in_dockers_file(tmp_path: Path) -> None:
    settings = Settings.load(str(tmp_path / "cfg"))
    settings.store("r.example:5000", "me", "pass:word")
    again = Settings.load(str(tmp_path / "cfg"))
    assert again.credentials("r.example:5000") == {
        "username": "me",
        "password": "pass:word",
        "serveraddress": "r.example:5000",
    }
    assert again.forget("r.example:5000")
    assert Settings.load(str(tmp_path / "cfg")).credentials("r.example:5000") == {}
    assert registry_of("a/b") == registry_of("docker.io/a/b") == registry_of("b") == HUB
    assert registry_of("localhost:5000/b") == "localhost:5000"
