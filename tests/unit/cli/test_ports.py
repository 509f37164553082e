import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.cli.errors import CommandFailed
from berth.cli.ports import publish, sources
from berth.networks.ports.choose import parse_host_port, parse_port
from berth.networks.ports.errors import BadPort


def test_the_long_form_says_who_may_and_at_which_address() -> None:
    spec = "published=8080,target=80,from=10.0.0.0/8,from=192.0.2.1,host_ip=127.0.0.1"
    assert publish([spec]) == (["80/tcp"], {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]})
    assert sources([spec, "8081:81"]) == {"berth.publish.from.80/tcp": "10.0.0.0/8,192.0.2.1"}
    assert sources(["target=80-81,protocol=udp,from=::1"]) == {
        "berth.publish.from.80/udp": "::1",
        "berth.publish.from.81/udp": "::1",
    }
    six = publish(["target=80,published=8080,host_ip=2001:db8::1"])[1]
    assert six == {"80/tcp": [{"HostIp": "2001:db8::1", "HostPort": "8080"}]}


@pytest.mark.parametrize("spec", ["from=10.0.0.0/8", "target=80,to=1", "target=80,from="])
def test_a_malformed_long_form_is_refused(spec: str) -> None:
    with pytest.raises(CommandFailed):
        publish([spec])


@given(st.text(alphabet="0123456789:-/[].,=abcdefhimoprstu ", max_size=40))
def test_whatever_is_given_is_bindings_or_an_error_of_ours(spec: str) -> None:
    with contextlib.suppress(CommandFailed):
        exposed, bindings = publish([spec])
        sources([spec])
        assert set(bindings) <= set(exposed)
        for port, hosts in bindings.items():
            with contextlib.suppress(BadPort):  # port 0, which the engine refuses in Docker's words
                assert parse_port(port)
            for host in hosts:
                low, high = parse_host_port(host["HostPort"])
                assert 0 <= low <= high <= 65_535
