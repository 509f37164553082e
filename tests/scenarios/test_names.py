"""Names and isolation, proven by packets in both directions, on Berth and on dockerd alike."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.engines import Engine, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]


@pytest.fixture(scope="module", params=["berth", "dockerd"])
def harbour(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Two containers on my_network, one on another network, two on the default bridge. Tests leave it as it was."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    engine.docker("network", "create", "my_network")
    engine.docker("network", "create", "elsewhere")
    listen = "while true; do echo here | nc -l -p 7000; done"
    for name, network, more in (
        ("anna", "my_network", ["--network-alias", "lighthouse"]),
        ("berta", "my_network", []),
        ("carla", "elsewhere", []),
        ("dora", "bridge", []),
        ("emma", "bridge", []),
    ):
        engine.docker("run", "-d", "--name", name, "--network", network, *more, "busybox", "sh", "-c", listen)
    yield engine
    engine.docker("rm", "-f", "anna", "berta", "carla", "dora", "emma", check=False)
    engine.docker("network", "rm", "my_network", "elsewhere", check=False)


def address(engine: Engine, name: str, network: str) -> str:
    return engine.docker(
        "inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}', name
    ).out.strip()


def resolves(engine: Engine, container: str, name: str) -> list[str]:
    """Ask the container's own resolver over UDP; the addresses it answered."""
    done = engine.docker("exec", container, "nslookup", "-type=a", name, check=False)
    found = []
    for line in done.out.partition("Name:")[2].splitlines():
        if line.startswith("Address"):
            found.append(line.split(":", 1)[1].strip().split(" ")[-1])
    return found


def reaches(engine: Engine, container: str, target: str) -> bool:
    """Open a TCP connection from one container to another and read what is said."""
    return "here" in engine.docker("exec", container, "sh", "-c", f"nc -w 2 {target} 7000 </dev/null", check=False).out


def at_once(*questions: Callable[[], object]) -> list[object]:
    """Ask several things at the same time: what is not there is waited for, each time as long as ever."""
    with ThreadPoolExecutor(len(questions)) as lanes:
        return [answer.result() for answer in [lanes.submit(question) for question in questions]]


def test_containers_on_one_network_find_each_other(harbour: Engine) -> None:
    anna = address(harbour, "anna", "my_network")
    short = harbour.docker("inspect", "-f", "{{.Id}}", "anna").out[:12]
    for name in ("anna", "lighthouse", short, "ANNA", "anna.my_network"):
        assert resolves(harbour, "berta", name) == [anna], name
    assert "nameserver 127.0.0.11" in harbour.docker("exec", "berta", "cat", "/etc/resolv.conf").out
    assert reaches(harbour, "berta", "anna")
    assert reaches(harbour, "anna", "berta")


def test_names_are_answered_over_tcp_too(harbour: Engine) -> None:
    # A query by hand: length, id, flags, one question for the A record of "anna".
    query = r"\000\035\022\064\001\000\000\001\000\000\000\000\000\000\004anna\000\000\001\000\001"
    query = query.replace(r"\000\035", r"\000\026")
    done = harbour.docker(
        "exec", "berta", "sh", "-c", f"printf '{query}' | nc -w 2 127.0.0.11 53 | hexdump -v -e '1/1 \"%02x\"'"
    )
    octets = "".join(f"{int(part):02x}" for part in address(harbour, "anna", "my_network").split("."))
    assert octets in done.out


def test_the_default_bridge_gives_no_names_but_reachability(harbour: Engine) -> None:
    assert at_once(
        lambda: resolves(harbour, "dora", "emma"),
        lambda: reaches(harbour, "dora", "emma"),
    ) == [[], False]
    assert reaches(harbour, "dora", address(harbour, "emma", "bridge"))


def test_other_networks_neither_resolve_nor_reach(harbour: Engine) -> None:
    anna, carla = address(harbour, "anna", "my_network"), address(harbour, "carla", "elsewhere")
    assert at_once(
        lambda: resolves(harbour, "carla", "anna"),
        lambda: resolves(harbour, "anna", "carla"),
        lambda: reaches(harbour, "carla", anna),
        lambda: reaches(harbour, "anna", carla),
        lambda: reaches(harbour, "dora", anna),
    ) == [[], [], False, False, False]
    assert reaches(harbour, "berta", anna), "nobody listens there at all"


def test_connect_opens_and_disconnect_closes(harbour: Engine) -> None:
    harbour.docker("network", "connect", "--alias", "visitor", "my_network", "carla")
    assert resolves(harbour, "carla", "anna") == [address(harbour, "anna", "my_network")]
    assert resolves(harbour, "anna", "visitor") == [address(harbour, "carla", "my_network")]
    assert reaches(harbour, "carla", "anna")
    assert reaches(harbour, "anna", "carla")
    old = address(harbour, "carla", "my_network")
    harbour.docker("network", "disconnect", "my_network", "carla")
    anna = address(harbour, "anna", "my_network")
    assert at_once(
        lambda: resolves(harbour, "carla", "anna"),
        lambda: resolves(harbour, "anna", "carla"),
        lambda: reaches(harbour, "anna", old),
        lambda: reaches(harbour, "carla", anna),
    ) == [[], [], False, False]


def test_several_holders_of_an_alias_are_all_answered(harbour: Engine) -> None:
    for name in ("fran", "gina"):
        harbour.docker(
            "run", "-d", "--name", name, "--network", "my_network", "--network-alias", "crew", "busybox", "sleep", "600"
        )
    try:
        both = {address(harbour, name, "my_network") for name in ("fran", "gina")}
        wait_for(lambda: set(resolves(harbour, "anna", "crew")) == both, "both holders of the alias")
        harbour.docker("rm", "-f", "fran")
        assert resolves(harbour, "anna", "crew") == [address(harbour, "gina", "my_network")]
    finally:
        harbour.docker("rm", "-f", "fran", "gina", check=False)


def test_an_internal_network_reaches_nothing_outside(harbour: Engine) -> None:
    harbour.docker("network", "create", "--internal", "--subnet", "10.77.0.0/24", "sealed")
    try:
        harbour.docker("run", "-d", "--name", "hulk", "--network", "sealed", "busybox", "sleep", "600")
        assert not reaches(harbour, "hulk", address(harbour, "anna", "my_network"))
    finally:
        harbour.docker("rm", "-f", "hulk", check=False)
        harbour.docker("network", "rm", "sealed", check=False)
