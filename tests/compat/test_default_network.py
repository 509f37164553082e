"""What the daemon's settings make of the default network: a bridge of the owner's, or none at all. Both engines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, Dockerd, Engine, import_busybox

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: Makes an engine that is started with flags.
Make = Callable[..., Engine]


@pytest.fixture(params=["berth", "dockerd"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    made: list[Engine] = []

    def engine(*flags: str) -> Engine:
        if request.param == "berth":
            made.append(Berth("dflt", tmp_path / "berth", *flags))
            return made[-1]

        class WithFlags(Dockerd):
            def argv(self) -> list[str]:
                return [*super().argv(), *flags]

        made.append(WithFlags("dfltd", tmp_path / "dockerd"))
        return made[-1]

    yield engine
    for one in made:
        one.close()


def networks(engine: Engine) -> list[str]:
    return sorted(engine.docker("network", "ls", "--format", "{{.Name}}").out.split())


def links(engine: Engine, *flags: str) -> str:
    return engine.docker("run", "--rm", *flags, "busybox", "sh", "-c", "ip -4 -o addr; ip route").out


def test_there_may_be_no_default_network(make: Make, busybox: Path) -> None:
    engine = make("--bridge", "none")
    engine.start()
    import_busybox(engine, busybox)
    assert networks(engine) == ["host", "none"]
    for flags in ((), ("--network", "bridge"), ("-p", "8080:80")):
        assert "eth0" not in links(engine, *flags)
        assert "127.0.0.1/8" in links(engine, *flags)
    engine.docker("network", "create", "mine")
    assert "eth0" in links(engine, "--network", "mine")
    refused = engine.docker("network", "create", "bridge", check=False)
    assert "operation is not permitted on predefined bridge network" in refused.err
    assert engine.docker("network", "inspect", "bridge", check=False).code == 1
    bridges = engine.host("ip", "-o", "link", "show", "type", "bridge").out.splitlines()
    assert [line.split()[1][:3] for line in bridges] == ["br-"]


def test_it_may_be_a_bridge_of_the_owners(make: Make, busybox: Path) -> None:
    engine = make("-b", "br9", "--fixed-cidr", "10.7.7.128/25")
    for command in ("link add br9 type bridge", "addr add 10.7.7.5/24 dev br9", "link set br9 up"):
        engine.host("ip", *command.split())
    engine.start()
    import_busybox(engine, busybox)
    shown = engine.api("GET", "/networks/bridge").body
    assert shown["IPAM"]["Config"] == [{"Subnet": "10.7.7.0/24", "IPRange": "10.7.7.128/25", "Gateway": "10.7.7.5"}]
    assert shown["Options"]["com.docker.network.bridge.name"] == "br9"
    inside = links(engine)
    assert "inet 10.7.7.128/24" in inside
    assert "default via 10.7.7.5 dev eth0" in inside
    engine.docker("run", "-d", "--name", "web", "-p", "8080:80", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    assert engine.host("curl", "-s", "-m", "5", "http://10.7.7.5:8080/passwd").out.startswith("root:")
    engine.docker("rm", "-f", "web")
    engine.stop()
    assert "10.7.7.5/24" in engine.host("ip", "-o", "addr", "show", "dev", "br9").out, "it is not ours to take away"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("-b", "br9"), "bridge device with non default name br9 must be created manually"),
        (("-b", "br9", "--bip", "10.1.1.1/24"), "You specified -b & --bip, mutually exclusive options"),
        (("--default-gateway", "10.9.9.9"), "10.9.9.9"),
    ],
)
def test_what_cannot_be_ends_the_daemon_with_a_word(make: Make, flags: tuple[str, ...], words: str) -> None:
    engine = make(*flags)
    with pytest.raises(AssertionError, match="ended with 1"):
        engine.start()
    assert words in engine.log_tail(3)
