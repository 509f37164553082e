"""Small requests are read as the HTTP server reads them, or not at all."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from berth.api import small
from berth.api.headers import HEADERS
from berth.api.small import SmallRequest, Unusual

CREATE = (
    b"POST /v1.41/volumes/create?a=b%20c&a=d HTTP/1.1\r\nHost: api.moby.localhost\r\nUser-Agent: Docker-Client/28\r\n"
    b"Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
)


def test_a_whole_request_and_what_follows_it() -> None:
    found = small.parse(CREATE + b"GET /x")
    assert found is not None
    request, rest = found
    assert (request.method, request.path, request.body, rest) == ("POST", "/v1.41/volumes/create", b"{}", b"GET /x")
    assert request.query.getall("a") == ["b c", "d"]
    assert request.path_qs == "/v1.41/volumes/create?a=b%20c&a=d"


@given(st.integers(0, len(CREATE) - 1))
def test_a_part_is_waited_for(length: int) -> None:
    assert small.parse(CREATE[:length]) is None


def test_escapes_in_a_path_are_resolved() -> None:
    found = small.parse(b"DELETE /volumes/a%2Fb HTTP/1.1\r\nHost: x\r\n\r\n")
    assert found is not None
    assert found[0].path == "/volumes/a/b"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"POST ", b"PATCH "),
        (b"POST ", b"post "),
        (b" HTTP/1.1", b"  HTTP/1.1"),
        (b"/v1.41", b"http://h/v1.41"),
        (b"a=d", b"a=d#x"),
        (b"a=d", b"a=\xff"),
        (b"Host: api.moby.localhost\r\n", b""),
        (b"Host: ", b"Host : "),
        (b"Host: ", b" Host: "),
        (b"Content-Length: 2", b"Content-Length: +2"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 2", b"Content-Length: 99999999"),
        (b"Content-Length: 2", b"Content-Length: 300000"),
        (b"Content-Length: 2", b"Content-Length: 2\r\n folded: 1"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nConnection: close"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nConnection: Upgrade\r\nUpgrade: tcp"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nExpect: 100-continue"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nX-Registry-Auth: e30="),
        (b"User-Agent: ", b"User-Agent: \x00"),
        (b"User-Agent: ", b"User-Agent: " + b"x" * small.LONGEST_HEAD),
    ],
)
def test_anything_unusual_is_left_to_the_server(old: bytes, new: bytes) -> None:
    assert old in CREATE
    with pytest.raises(Unusual):
        small.parse(CREATE.replace(old, new, 1))


def test_a_head_without_end_is_not_waited_for_forever() -> None:
    with pytest.raises(Unusual):
        small.parse(b"GET /" + b"a" * small.LONGEST_HEAD)


@pytest.mark.parametrize(
    "beginning", [b"\x16\x03\x01", b"\r\n", b"{", b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/1.1\n", b"\n"]
)
def test_what_is_no_request_is_not_waited_for(beginning: bytes) -> None:
    assert small.is_foreign(beginning)
    with pytest.raises(Unusual):
        small.parse(beginning)


def test_the_type_of_a_body() -> None:
    found = small.parse(CREATE)
    assert found is not None
    assert found[0].content_type == "application/json"


def _rendered(method: str, answer: web.Response) -> tuple[list[str], bytes]:
    head, _, body = small.render(SmallRequest(method, "/x", "", b""), answer).partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


def test_an_answer_says_what_every_answer_says() -> None:
    lines, body = _rendered("GET", web.Response(body=b"[]\n", status=201, content_type="application/json"))
    assert lines[0] == "HTTP/1.1 201 Created"
    assert {f"{name}: {value}" for name, value in HEADERS.items()} < set(lines)
    assert {"Content-Type: application/json", "Content-Length: 3"} < set(lines)
    assert sum(line.startswith("Date: ") for line in lines) == 1
    assert body == b"[]\n"


@pytest.mark.parametrize(("method", "status", "length"), [("GET", 204, None), ("GET", 304, None), ("HEAD", 200, 3)])
def test_some_answers_have_no_body(method: str, status: int, length: int | None) -> None:
    lines, body = _rendered(method, web.Response(body=b"abc" if status == 200 else None, status=status))
    said = [line for line in lines if line.startswith("Content-Length: ")]
    assert said == ([] if length is None else [f"Content-Length: {length}"])
    assert body == b""
