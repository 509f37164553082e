"""Published ports with the setting ``userland-proxy: false``: rules alone lead there, from everywhere rules can."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.test_ports import local, serve
from tests.support.engines import Berth, Dockerd, Engine, running, wait_for
from tests.support.remote import Remote

pytestmark = [pytest.mark.root, pytest.mark.compat]

SETTING = "--userland-proxy=false"
HOST = "203.0.113.1"


class BareDockerd(Dockerd):
    """The original with that setting."""

    def argv(self) -> list[str]:
        return [*super().argv(), SETTING]


@pytest.fixture(params=["berth", "dockerd"])
def bare(request: pytest.FixtureRequest, tmp_path: Path, busybox: Path) -> Iterator[Engine]:
    """Each engine in turn, without a proxy."""
    root = tmp_path / "bare"
    one = Berth("bareb", root, SETTING) if request.param == "berth" else BareDockerd("bared", root)
    try:
        with running(one, busybox) as engine:
            yield engine
    finally:
        shutil.rmtree(root, ignore_errors=True)


def asks(engine: Engine, name: str, url_host: str, port: int) -> str:
    """What a container gets from a port of the host."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {url_host} {port}"
    return engine.docker("exec", name, "sh", "-c", ask, check=False).out


def test_rules_alone_lead_to_published_ports(bare: Engine) -> None:
    remote = Remote(bare)
    try:
        bare.docker("network", "create", "own")
        bare.docker("network", "create", "other")
        serve(bare, "plain", "-p", "8080:80", "-p", "127.0.0.1:8081:80", "-p", "8082:53/udp")
        serve(bare, "web", "--network", "own", "-p", "8090:80", "-p", "127.0.0.1:8091:80")
        serve(bare, "peer", "--network", "own")
        serve(bare, "stranger", "--network", "other")
        for port in (8080, 8090):
            assert local(bare, f"http://127.0.0.1:{port}/") == "welcome\n"
            assert local(bare, f"http://{HOST}:{port}/") == "welcome\n"
            assert remote.fetch(f"http://{HOST}:{port}/") == "welcome\n"
        for port in (8081, 8091):
            assert local(bare, f"http://127.0.0.1:{port}/") == "welcome\n"
            assert remote.fetch(f"http://{HOST}:{port}/", limit_s=3) == ""
        for name in ("web", "peer"):  # the first is itself: by hairpin, with its own address on both ends
            assert "welcome" in asks(bare, name, HOST, 8090), name
        for name in ("stranger", "plain") if bare.kind == "berth" else ():  # Docker's proxy is what leads these there
            assert "welcome" in asks(bare, name, HOST, 8090), name
        assert "welcome" in asks(bare, "plain", HOST, 8080)
        wait_for(lambda: "203.0.113.2" in bare.docker("logs", "web").err, "the remote client's own address in the log")
        pid = bare.docker("inspect", "-f", "{{.State.Pid}}", "plain").out.strip()
        echo = subprocess.Popen(["nsenter", "-t", pid, "-n", "socat", "UDP-LISTEN:53,fork", "PIPE"])
        try:
            ask = "echo ping | socat -t 1 - UDP:127.0.0.1:8082"
            wait_for(lambda: bare.host("sh", "-c", ask, check=False).out == "ping\n", "an answer to a datagram")
        finally:
            echo.kill()
            echo.wait()
        assert no_proxies(bare)

        refused = bare.docker("run", "--rm", "-p", "8080:80", "busybox", "true", check=False)
        assert refused.code == 125
        assert "port is already allocated" in refused.err
        taken = bare.host("socat", "-u", "TCP-LISTEN:8080", "OPEN:/dev/null", check=False)
        assert "Address already in use" in taken.err, "a process of the host is told, too"
        if bare.kind == "berth":  # the original's containers end with it
            bare.restart()
        assert local(bare, "http://127.0.0.1:8090/") == "welcome\n"
        bare.docker("rm", "-f", "web", "plain")
        for port in (8080, 8090):
            assert local(bare, f"http://127.0.0.1:{port}/") == ""
            assert remote.fetch(f"http://{HOST}:{port}/", limit_s=3) == ""
    finally:
        remote.close(bare)


def no_proxies(engine: Engine) -> bool:
    """Whether no process passes anything on for this engine."""
    listening = engine.host("ss", "-Hltnup").out
    assert ":8082" in listening, "held by the engine itself"
    return "docker-proxy" not in listening and "berth-proxy" not in listening and "[::]:8080" not in listening
