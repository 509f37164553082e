import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.errors import InvalidArgument
from berth.wire.containers import ContainerCreate, config_of, decode_create


def test_null_means_absent_as_in_go() -> None:
    want = decode_create(
        b'{"Image":"busybox","Tty":null,"User":null,"Cmd":"sh","Entrypoint":null,"Labels":{"a":null},'
        b'"Healthcheck":null,"HostConfig":{"Memory":null,"PortBindings":{"80/tcp":null},"RestartPolicy":null,"Init":null},'
        b'"NetworkingConfig":{"EndpointsConfig":{"mine":null}}}'
    )
    assert want.cmd == ["sh"]
    assert want.entrypoint is None
    assert want.labels == {"a": ""}
    assert want.host_config.port_bindings == {"80/tcp": None}
    assert want.networking_config.endpoints == {"mine": None}
    assert want.host_config.memory == 0


def test_the_config_part_alone() -> None:
    want = decode_create(b'{"Image":"busybox","Env":["A=b"],"HostConfig":{"AutoRemove":true}}')
    config = config_of(want)
    assert type(config) is not ContainerCreate
    assert (config.image, config.env) == ("busybox", ["A=b"])


@pytest.mark.parametrize(
    "raw",
    [b"{", b"[]", b'"x"', b'"\x80"', b'{"Image":"\x80"}', b'{"Image":5}', b'{"HostConfig":{"Memory":"much"}}', b""],
)
def test_malformed_bodies(raw: bytes) -> None:
    with pytest.raises(InvalidArgument, match="invalid JSON"):
        decode_create(raw)


@given(st.binary(max_size=200))
def test_junk_is_always_a_clear_error(raw: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        decode_create(raw)
