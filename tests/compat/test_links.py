"""Legacy links (``--link``) on the default network, with containers kept apart there (icc=false): both engines."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, Dockerd, Engine, running, wait_for

pytestmark = [pytest.mark.root, pytest.mark.compat]


class StrictDockerd(Dockerd):
    """A dockerd whose default network keeps containers apart."""

    def argv(self) -> list[str]:
        return [*super().argv(), "--icc=false"]


@pytest.fixture(scope="module")
def strict_berth(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    place = tmp_path_factory.mktemp("strict")
    with running(Berth("strict", place, "--icc=false", "--log-level", "debug"), busybox) as engine:
        yield engine


@pytest.fixture(scope="module")
def strict_dockerd(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Dockerd]:
    with running(StrictDockerd("strictd", tmp_path_factory.mktemp("strictd")), busybox) as engine:
        yield engine


@pytest.fixture(params=["berth", "dockerd"])
def strict(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine: Engine = request.getfixturevalue(f"strict_{request.param}")
    yield engine
    engine.wipe_containers()


SERVE = "for p in 80 81; do mkdir /$p; echo from $p >/$p/index.html; httpd -p $p -h /$p; done; exec sleep 1000"


def serve(engine: Engine, name: str, *flags: str) -> None:
    engine.docker("run", "-d", "--name", name, *flags, "busybox", "sh", "-c", SERVE)
    wait_for(lambda: listens(engine, name), f"{name} to listen")


def listens(engine: Engine, name: str) -> bool:
    return engine.docker("exec", name, "netstat", "-ltn", check=False).out.count(":8") == 2


def ask(engine: Engine, source: str, *targets: tuple[str, int]) -> str:
    """Return what all targets together answer within a second."""
    get = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 1 nc {} {} | grep from &"
    script = "".join(get.format(*target) for target in targets)
    return engine.docker("exec", source, "sh", "-c", f"{script} wait").out


def address(engine: Engine, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", name).out.strip()


def told(text: str, prefix: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if line.startswith(prefix))


def test_what_a_linked_container_is_told(strict: Engine) -> None:
    flags = ("-e", "FOO=bar", "-e", "HOME=/x", "--expose", "80", "--expose", "90-92", "--expose", "53/udp")
    strict.docker("run", "-d", "--name", "db-one", "--hostname", "dbhost", *flags, "busybox", "sleep", "1000")
    at = address(strict, "db-one")
    expected = {"DB_PORT": f"udp://{at}:53", "DB_NAME": "/web/db", "DB_ENV_FOO": "bar"}
    for port, protocol in ((53, "udp"), (80, "tcp"), (90, "tcp"), (91, "tcp"), (92, "tcp")):
        about, url = f"DB_PORT_{port}_{protocol.upper()}", f"{protocol}://{at}:{port}"
        expected |= {about: url, f"{about}_ADDR": at, f"{about}_PORT": str(port), f"{about}_PROTO": protocol}
    row = {"START": f"tcp://{at}:90", "PORT_START": "90", "END": f"tcp://{at}:92", "PORT_END": "92"}
    expected |= {f"DB_PORT_90_TCP_{name}": value for name, value in row.items()}
    strict.docker("run", "-d", "--name", "web", "--link", "db-one:db", "busybox", "sh", "-c", "env; exec sleep 1000")
    wait_for(lambda: "PWD=" in strict.docker("logs", "web").out, "the environment")
    assert told(strict.docker("logs", "web").out, "DB_") == expected
    assert told(strict.docker("exec", "web", "env").out, "DB_") == expected
    assert f"{at}\tdb dbhost db-one\n" in strict.docker("exec", "web", "cat", "/etc/hosts").out
    assert strict.docker("inspect", "-f", "{{json .HostConfig.Links}}", "web").out == '["/db-one:/web/db"]\n'
    # its own variables count, and a link without an alias has the other's name
    own = strict.docker(
        "run", "--rm", "--name", "w2", "-e", "DB_ONE_NAME=mine", "--link", "db-one", "busybox", "env"
    ).out
    assert told(own, "DB_ONE_NAME") == {"DB_ONE_NAME": "mine"}
    assert told(own, "DB_ONE_PORT=") == {"DB_ONE_PORT": f"udp://{at}:53"}


def test_links_let_exposed_ports_through_and_nothing_else(strict: Engine) -> None:
    serve(strict, "db", "--expose", "80")
    serve(strict, "web", "--link", "db:alias", "--expose", "80")
    serve(strict, "other", "--expose", "80")
    others = [(address(strict, "other"), 80)]
    assert ask(strict, "web", ("alias", 80), ("alias", 81), *others) == "from 80\n", "81 is not exposed"
    assert ask(strict, "db", (address(strict, "web"), 80), *others) == "", "one way"
    assert ask(strict, "other", (address(strict, "db"), 80), (address(strict, "web"), 80)) == "", "not linked"
    strict.docker("rm", "-f", "web")
    strict.docker("run", "-d", "--name", "heir", "busybox", "sleep", "1000")
    assert ask(strict, "heir", (address(strict, "db"), 80)) == "", "an address that was linked"


def test_a_link_follows_a_container_to_another_address(strict: Engine) -> None:
    serve(strict, "db", "--expose", "80")
    before = address(strict, "db")
    serve(strict, "web", "--link", "db")
    strict.docker("stop", "-t", "0", "db")
    strict.docker("run", "-d", "--name", "taker", "busybox", "sleep", "1000")
    strict.docker("start", "db")
    after = address(strict, "db")
    if strict.kind == "dockerd":
        assert (address(strict, "taker"), after != before) == (before, True)
    wait_for(lambda: listens(strict, "db"), "db to listen")
    assert f"{after}\tdb " in strict.docker("exec", "web", "cat", "/etc/hosts").out
    if strict.kind == "berth":  # in 20.10 its rules stay with the old address
        assert ask(strict, "web", ("db", 80)) == "from 80\n"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (("run", "-d", "--name", "db", "--network", "none", "busybox", "sleep", "1000"),
         "Cannot link to /db, as it does not belong to the default network"),
        (("create", "--name", "db", "busybox"), "Cannot link to a non running container: /db AS /web/db"),
        (("run", "-d", "--name", "db", "--network", "host", "busybox", "sleep", "1000"),
         "host type networking can't be used with links"),
        (("version",), "could not get container for db"),
    ],
)  # fmt: skip
def test_links_that_cannot_be(strict: Engine, prepare: tuple[str, ...], words: str) -> None:
    strict.docker(*prepare)
    refused = strict.docker("run", "--name", "web", "--link", "db", "busybox", "true", check=False)
    assert words in refused.err


def test_a_linked_path_survives_the_engine_and_can_be_traced(strict_berth: Berth) -> None:
    with contextlib.ExitStack() as after:
        after.callback(strict_berth.wipe_containers)
        serve(strict_berth, "db", "--expose", "80")
        serve(strict_berth, "web", "--link", "db")
        strict_berth.kill9()
        strict_berth.start()
        assert ask(strict_berth, "web", ("db", 80), ("db", 81)) == "from 80\n"
        assert strict_berth.berth("network", "trace", "web", "db:80").ok
        refused = strict_berth.berth("network", "trace", "web", "db:81", check=False)
        assert "icc" in refused.out + refused.err
        strict_berth.berth("firewall", "diff")
        routes = strict_berth.docker("exec", "web", "ip", "route").out
        assert f"{address(strict_berth, 'db')} via " in routes
        strict_berth.docker("rm", "-f", "db")
        assert " via " not in strict_berth.docker("exec", "web", "ip", "route").out.replace("default via", "")
        table = strict_berth.host("nft", "list", "set", "inet", strict_berth.layout.nft_table, "linked").out
        assert "elements" not in table
