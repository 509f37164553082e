import typing

import msgspec
import pytest

from berth.networks.dns import control
from berth.networks.dns.model import NamedEndpoint, ServeConfig, Upstream
from berth.networks.processes import packets

EXAMPLES = (
    control.Serve(
        1, ServeConfig("c", (Upstream("192.0.2.1"), Upstream("127.0.0.1", from_host=True, port=5353)), internal=True)
    ),
    control.Configure(2, ServeConfig("c", ndots_set=True)),
    control.Forget(3, "c"),
    control.Up(4, NamedEndpoint("c", "n", "net", ("a", "b"), ("10.0.0.1",), ("fd00::1",), (("x", "y"),))),
    control.Down(5, "c", "n"),
    control.Serving(6, "a"),
    control.Begin(7),
    control.Commit(8),
    control.Quit(9),
    control.Recent(10, "c", 7),
    control.Numbers(11, "c"),
    control.Servers(12),
)


def test_every_request_survives_the_wire() -> None:
    assert {type(one) for one in EXAMPLES} == set(typing.get_args(control.Request))
    for one in EXAMPLES:
        assert control.decode(packets.encode(one)) == one


@pytest.mark.parametrize("junk", [b"{}", b'{"op":"rm"}', b"\xff", b'{"op":"up","seq":1,"endpoint":{}}'])
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        control.decode(junk)
