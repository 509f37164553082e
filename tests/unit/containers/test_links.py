"""What a container is told of those it is linked to."""

from berth.containers.links import environment
from berth.networks.model import Linked


def told(*exposed: str, alias: str = "db", theirs: tuple[str, ...] = ()) -> dict[str, str]:
    found = environment("web", Linked(alias, "id", "10.0.0.2", exposed), theirs)
    names = [entry.partition("=")[0] for entry in found]
    assert len(names) == len(set(names))
    return dict(entry.split("=", 1) for entry in found)


def test_one_that_exposes_nothing_has_a_name() -> None:
    assert told() == {"DB_NAME": "/web/db"}


def test_each_port_is_told_in_five_ways() -> None:
    assert told("80/tcp") == {
        "DB_PORT": "tcp://10.0.0.2:80",
        "DB_PORT_80_TCP": "tcp://10.0.0.2:80",
        "DB_PORT_80_TCP_ADDR": "10.0.0.2",
        "DB_PORT_80_TCP_PORT": "80",
        "DB_PORT_80_TCP_PROTO": "tcp",
        "DB_NAME": "/web/db",
    }


def test_the_lowest_port_counts_and_of_two_the_one_of_tcp() -> None:
    assert told("80", "53/udp", "53/tcp")["DB_PORT"] == "tcp://10.0.0.2:53"
    assert told("80/tcp", "53/UDP")["DB_PORT"] == "udp://10.0.0.2:53"


def test_rows_of_ports_are_told_from_first_to_last() -> None:
    found = told("90/tcp", "91/tcp", "92/tcp", "93/udp", "95/tcp", "100/udp", "101/udp")
    rows = {name: value for name, value in found.items() if "_START" in name or "_END" in name}
    assert rows == {
        "DB_PORT_90_TCP_START": "tcp://10.0.0.2:90",
        "DB_PORT_90_TCP_PORT_START": "90",
        "DB_PORT_90_TCP_END": "tcp://10.0.0.2:92",
        "DB_PORT_90_TCP_PORT_END": "92",
        "DB_PORT_100_UDP_START": "udp://10.0.0.2:100",
        "DB_PORT_100_UDP_PORT_START": "100",
        "DB_PORT_100_UDP_END": "udp://10.0.0.2:101",
        "DB_PORT_100_UDP_PORT_END": "101",
    }


def test_aliases_become_names_of_variables_and_private_variables_stay_private() -> None:
    found = told(alias="my-db", theirs=("A=1=2", "HOME=/x", "PATH=/bin", "bare"))
    assert found == {"MY_DB_NAME": "/web/my-db", "MY_DB_ENV_A": "1=2"}
