"""Requests as no client writes them, on both engines: what is taken, what is refused, and that this leaves nothing."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.engines import Berth, Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]

CREATE = b"POST /v1.41/volumes/create HTTP/1.1\r\nHost: x\r\n"
JSON = b"Content-Type: application/json\r\n"


@contextlib.contextmanager
def _connected(engine: Engine, timeout_s: float = 60) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(engine.socket))
        yield sock


def _status(engine: Engine, request: bytes) -> int:
    """Return the status of the first answer that is none of those on the way to it."""
    with _connected(engine) as sock:
        sock.sendall(request)
        got = b""
        while True:
            piece = sock.recv(65536)
            got = (got + piece).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            if b"\r\n\r\n" in got:
                return int(got.split(b" ")[1])
            assert piece, got


def _names(engine: Engine) -> set[str]:
    return {row["Name"] for row in engine.api("GET", "/volumes").body["Volumes"] or ()}


def _sized(headers: bytes, body: bytes) -> bytes:
    return CREATE + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param(JSON, b'{"name":"wirevol"}', id="a field in small letters"),
        pytest.param(JSON, b'{"NAME":"wirevol","dRIVER":"local"}', id="fields in any letters"),
        pytest.param(JSON, b'{"Name":"wireold","Name":"wirevol"}', id="a field twice"),
        pytest.param(JSON, b'{"Name":"wirevol","Nosuch":[1]}', id="a field nobody knows"),
        pytest.param(JSON, b'{"Name":"wirevol","Labels":{"a":null}}', id="null for a text"),
        pytest.param(b"Content-Type: application/json; charset=utf-8\r\n", b'{"Name":"wirevol"}', id="with a charset"),
        pytest.param(JSON + b"Content-Encoding: gzip\r\n", b'{"Name":"wirevol"}', id="said to be packed"),
        pytest.param(JSON + b"Expect: 100-continue\r\n", b'{"Name":"wirevol"}', id="after a question"),
        pytest.param(JSON + b"X-Long: " + b"a" * 100_000 + b"\r\n", b'{"Name":"wirevol"}', id="a long header"),
        pytest.param(JSON + b"".join(b"X-%d: a\r\n" % i for i in range(500)), b'{"Name":"wirevol"}', id="many headers"),
    ],
)  # fmt: skip
def test_odd_requests_that_are_taken(engine: Engine, headers: bytes, body: bytes) -> None:
    try:
        assert _status(engine, _sized(headers, body)) == 201
        assert "wirevol" in _names(engine)
        if b"Labels" in body:
            assert engine.api("GET", "/volumes/wirevol").body["Labels"] == {"a": ""}
    finally:
        engine.api("DELETE", "/volumes/wirevol")


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(_sized(b"", b'{"Name":"wirevol"}'), id="no type"),
        pytest.param(_sized(b"Content-Type: text/plain\r\n", b'{"Name":"wirevol"}'), id="a page's text"),
        pytest.param(_sized(b"Content-Type: application/x-www-form-urlencoded\r\n", b'{"Name":"wirevol"}'), id="form"),
        pytest.param(_sized(JSON, b'{"Name":1}'), id="a number for a text"),
        pytest.param(_sized(JSON, b'["wirevol"]'), id="a list"),
        pytest.param(_sized(JSON, b'{"Name":"wirevol"'), id="half"),
        pytest.param(CREATE + JSON + b"Content-Length: -1\r\n\r\n", id="a length below nothing"),
        pytest.param(CREATE + JSON + b"Content-Length: 2\r\nContent-Length: 18\r\n\r\n" + b"{}", id="two lengths"),
        pytest.param(b"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd", id="ping with a hidden body"),
        pytest.param(b"GET /_ping HTTP/1.1\r\n\r\n", id="ping of no host"),
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
    ],
)  # fmt: skip
def test_odd_requests_that_are_refused(engine: Engine, request_: bytes) -> None:
    before = _names(engine)
    assert _status(engine, request_) == 400
    assert _names(engine) == before


def test_options_are_answered_anywhere(engine: Engine) -> None:
    for path in ("/containers/json", "/nowhere"):
        assert engine.api("OPTIONS", path).status == 200


def test_another_protocol_is_not_left_waiting(berth: Berth) -> None:
    for beginning in (b"\x16\x03\x01\x02\x00\x01", b"GET /_ping HTTP/1.1\nHost: x\n\n"):
        with _connected(berth) as sock:
            sock.sendall(beginning)
            answer = sock.recv(65536)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 400 " in head
        assert "malformed HTTP request" in json.loads(body)["message"]


def test_a_client_that_goes_in_the_middle_makes_nothing(berth: Berth) -> None:
    before = _names(berth)
    chunked = CREATE + JSON + b'Transfer-Encoding: chunked\r\n\r\n13\r\n{"Name":"wirehalf"}\r\n'
    for whole in (_sized(JSON, b'{"Name":"wirehalf"}'), chunked):
        for sent in (len(whole) // 2, len(whole) - 1):
            with _connected(berth) as sock:
                sock.sendall(whole[:sent])
    assert berth.api("GET", "/_ping").status == 200
    assert _names(berth) == before


def test_a_thousand_that_say_nothing_keep_nobody_waiting(berth: Berth) -> None:
    beginnings = (b"", b"G", b"GET /volumes HTTP/1.1\r\nHost: x\r\n", CREATE + b"Content-Length: 9\r\n\r\n{")
    with contextlib.ExitStack() as idle:
        for number in range(1000):
            idle.enter_context(_connected(berth)).sendall(beginnings[number % 4])
        assert berth.api("GET", "/volumes").status == 200
        assert berth.docker("version", "--format", "{{.Server.APIVersion}}").ok


def test_a_client_that_takes_no_answers_costs_little(berth: Berth) -> None:
    def resident_kb() -> int:
        assert berth.process is not None
        with open(f"/proc/{berth.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    before = resident_kb()
    request = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    sent = 0
    with _connected(berth, 1) as sock, contextlib.suppress(TimeoutError):
        while sent < 100_000 * len(request):  # some 100 MB of answers
            sent += sock.send(request * 1000)
    assert sent < 100_000 * len(request), "it was read from on and on"
    assert resident_kb() - before < 20_000


def test_the_platform_of_an_image_is_kept_to(engine: Engine) -> None:
    body = {"Image": "busybox", "Cmd": ["true"]}
    before = engine.api("GET", "/containers/json?all=1").body
    refused = engine.api("POST", "/v1.41/containers/create?platform=linux/s390x", body)
    assert refused.status == 404
    assert "specified platform" in refused.message
    assert engine.api("GET", "/containers/json?all=1").body == before


@pytest.mark.parametrize(
    ("flags", "groups"),
    [((), {0}), (("--user", "5:6"), {6}), (("--user", "5:6", "--group-add", "7"), {6, 7}), (("--user", "12"), {0})],
)
def test_the_group_is_among_the_groups(engine: Engine, flags: tuple[str, ...], groups: set[int]) -> None:
    """CVE-2022-36109: a program that gives its group up must not win access by it."""
    shown = engine.docker("run", "--rm", *flags, "busybox", "grep", "Groups:", "/proc/self/status").out
    assert groups <= {int(word) for word in shown.split()[1:]}


def test_many_commands_at_once(berth: Berth) -> None:
    berth.docker("run", "-d", "--name", "many", "busybox", "sleep", "1000")
    codes: list[tuple[int, int, str]] = []

    def one(number: int) -> None:
        done = berth.docker("exec", "many", "sh", "-c", f"echo {number}; exit {number}", check=False)
        codes.append((number, done.code, done.out))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [(number, number, f"{number}\n") for number in range(40)]
    wait_for(lambda: berth.api("GET", "/containers/many/json").body["ExecIDs"] is None, "the commands to be forgotten")
