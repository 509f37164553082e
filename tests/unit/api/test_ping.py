"""The answer to a ping that goes no long way."""

import pytest

from berth.api.headers import HEADERS
from berth.api.ping import PING_HEADERS, quick_answer

HEAD = b"HEAD /_ping HTTP/1.1\r\nHost: api\r\nUser-Agent: Docker-Client/28\r\n\r\n"


def test_it_says_all_that_clients_read() -> None:
    answer = quick_answer(HEAD)
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert {f"{name}: {value}" for name, value in (HEADERS | PING_HEADERS).items()} <= set(lines)
    assert ("Content-Length: 0" in lines, body) == (True, b"")


def test_asked_in_full_it_says_ok() -> None:
    answer = quick_answer(HEAD.replace(b"HEAD", b"GET"))
    assert answer is not None
    assert answer.endswith(b"\r\n\r\nOK")
    assert b"\r\nContent-Length: 2\r\n" in answer


@pytest.mark.parametrize(
    "request_",
    [
        HEAD[:-2],
        HEAD + HEAD,
        HEAD.replace(b"/_ping", b"/v1.41/_ping"),
        HEAD.replace(b"/_ping", b"/_ping?x"),
        HEAD.replace(b"HEAD", b"POST"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"Host", b"Connection: close\r\nHost"),
        HEAD.replace(b"Host", b"content-length: 2\r\nHost"),
        HEAD.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        HEAD.replace(b"Host: api\r\n", b""),
        HEAD.replace(b"Host", b"Host: other\r\nHost"),
        HEAD.replace(b"Host", b"Content-Length : 2\r\nHost"),
        HEAD.replace(b"api\r\n", b"api\nContent-Length: 2\r\n"),
        HEAD.replace(b"Host", b"X-A: b\r\n c\r\nHost"),
    ],
)
def test_everything_else_goes_the_usual_way(request_: bytes) -> None:
    assert quick_answer(request_) is None
