"""Names of images: Docker's grammar and its short forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.images.errors import InvalidReference, InvalidTag
from berth.images.reference import Reference, parse_reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.25", "docker.io/library/nginx:1.25", "nginx:1.25"),
        ("foo/bar", "docker.io/foo/bar", "foo/bar"),
        ("library/nginx", "docker.io/library/nginx", "nginx"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        ("index.docker.io/foo/bar", "docker.io/foo/bar", "foo/bar"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/x:y", "localhost:5000/x:y", "localhost:5000/x:y"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b"),
        ("[::1]:5000/a:b", "[::1]:5000/a:b", "[::1]:5000/a:b"),
        ("ghcr.io/a/b_c-d__e.f:V.1", "ghcr.io/a/b_c-d__e.f:V.1", "ghcr.io/a/b_c-d__e.f:V.1"),
        ("Upper/x", "Upper/x", "Upper/x"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"docker.io/library/nginx:1@{DIGEST}", f"nginx:1@{DIGEST}"),
    ],
)
def test_names(text: str, full: str, familiar: str) -> None:
    parsed = parse_reference(text)
    assert (parsed.full, parsed.familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid reference format"),
        (":x", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a/-b", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a\n", "invalid reference format"),
        ("../x", "invalid reference format"),
        ("nginx@sha256:abc", "invalid reference format"),
        ("nginx@", "invalid reference format"),
        ("nginx:" + "a" * 129, "invalid reference format"),
        ("Nginx", "invalid reference format: repository name (library/Nginx) must be lowercase"),
        ("a" * 256, "invalid reference format: repository name must not be more than 255 characters"),
        (
            "c" * 64,
            (
                f"invalid reference format: invalid repository name ({'c' * 64}), "
                "cannot specify 64-byte hexadecimal strings"
            ),
        ),
    ],
)
def test_bad_names(text: str, words: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse_reference(text)
    assert str(caught.value) == words


def test_parts_replaced() -> None:
    name = parse_reference("x:1")
    assert name.with_tag("2").familiar == "x:2"
    assert name.with_digest(DIGEST).familiar == f"x@{DIGEST}"
    assert parse_reference("x").or_latest().familiar == "x:latest"
    assert name.or_latest() is name
    with pytest.raises(InvalidTag):
        name.with_tag("n@pe")


@pytest.mark.parametrize(
    ("registry", "loopback"),
    [("localhost", True), ("localhost:5", True), ("127.0.0.1:5000", True), ("127.8.9.1", True), ("[::1]:5", True),
     ("128.0.0.1", False), ("localhost.example", False), ("docker.io", False)],
)  # fmt: skip
def test_registries_that_may_speak_plain_http(registry: str, *, loopback: bool) -> None:
    assert Reference(registry=registry, path="x").is_loopback is loopback


_part = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,4}){0,2}", fullmatch=True)


@given(
    registry=st.sampled_from(["", "localhost:5000/", "example.org/"]),
    path=st.lists(_part, min_size=1, max_size=3),
    tag=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True) | st.just(""),
)
def test_what_is_printed_is_read_the_same(registry: str, path: list[str], tag: str) -> None:
    text = registry + "/".join(path) + (f":{tag}" if tag else "")
    try:
        parsed = parse_reference(text)
    except InvalidReference:
        return  # 64 hexadecimal characters, for instance
    assert parse_reference(parsed.full) == parsed
    assert parse_reference(parsed.familiar) == parsed


@given(st.text(max_size=60))
def test_junk_is_refused_or_read(text: str) -> None:
    try:
        parsed = parse_reference(text)
    except InvalidReference:
        return
    assert parse_reference(parsed.full) == parsed
