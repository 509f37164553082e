"""Published ports: answered from everywhere they should, refused when taken, gone when the container is."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.engines import Engine, wait_for
from tests.support.remote import Remote

pytestmark = [pytest.mark.root, pytest.mark.compat]

SERVE = "mkdir -p /www && echo welcome > /www/index.html && exec httpd -f -v -p 80 -h /www"


@pytest.fixture
def remote(engine: Engine) -> Iterator[Remote]:
    one = Remote(engine)
    yield one
    one.close(engine)


@pytest.fixture
def cleaned(engine: Engine) -> Iterator[Engine]:
    yield engine
    engine.wipe_containers()


def local(engine: Engine, url: str) -> str:
    return engine.host("curl", "-s", "-m", "30", url, check=False).out


def serve(engine: Engine, name: str, *publish: str) -> None:
    engine.docker("run", "-d", "--name", name, *publish, "busybox", "sh", "-c", SERVE)
    wait_for(
        lambda: engine.docker("exec", name, "wget", "-qO-", "http://127.0.0.1/", check=False).ok, "httpd to listen"
    )


def test_a_published_port_answers_from_host_remote_and_hairpin(cleaned: Engine, remote: Remote) -> None:
    serve(cleaned, "web", "-p", "8080:80")
    assert local(cleaned, "http://203.0.113.1:8080/") == "welcome\n"
    assert local(cleaned, "http://127.0.0.1:8080/") == "welcome\n"
    assert remote.fetch("http://203.0.113.1:8080/") == "welcome\n"
    ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 30 203.0.113.1 8080"
    assert "welcome" in cleaned.docker("exec", "web", "sh", "-c", ask).out
    assert cleaned.docker("port", "web").out.splitlines()[0] == "80/tcp -> 0.0.0.0:8080"


def test_a_remote_clients_address_is_kept(cleaned: Engine, remote: Remote) -> None:
    serve(cleaned, "web", "-p", "8081:80")
    assert remote.fetch("http://203.0.113.1:8081/") == "welcome\n"
    wait_for(lambda: "203.0.113.2" in cleaned.docker("logs", "web").err, "the client's address in the server's log")


def test_a_port_bound_to_loopback_is_not_for_neighbours(cleaned: Engine, remote: Remote) -> None:
    serve(cleaned, "web", "-p", "127.0.0.1:8082:80")
    assert local(cleaned, "http://127.0.0.1:8082/") == "welcome\n"
    assert remote.fetch("http://203.0.113.1:8082/", limit_s=3) == ""


def test_ranges_udp_and_ephemeral_ports(cleaned: Engine) -> None:
    serve(cleaned, "web", "-p", "9000-9001:80-81", "-p", "9000:53/udp", "-p", "80")
    ports = cleaned.docker("port", "web").out
    assert "80/tcp -> 0.0.0.0:9000" in ports
    assert "81/tcp -> 0.0.0.0:9001" in ports
    assert "53/udp -> 0.0.0.0:9000" in ports
    mapped = cleaned.api("GET", "/containers/web/json").body["NetworkSettings"]["Ports"]["80/tcp"]
    others = [row["HostPort"] for row in mapped if row["HostPort"] != "9000"]
    assert others
    assert local(cleaned, f"http://127.0.0.1:{others[0]}/") == "welcome\n"


@pytest.mark.parametrize("taken_by", ["container", "process"])
def test_a_taken_port_is_refused_and_nothing_remains(cleaned: Engine, taken_by: str) -> None:
    port = "8083" if taken_by == "container" else "8085"
    holder: subprocess.Popen[bytes] | None = None
    if taken_by == "container":
        serve(cleaned, "first", "-p", f"{port}:80")
    else:
        holder = subprocess.Popen(cleaned.spaces.inside(["socat", f"TCP-LISTEN:{port},fork", "OPEN:/dev/null"]))
        wait_for(lambda: f":{port}" in cleaned.host("ss", "-ltn").out, "the port to be taken")
    try:
        done = cleaned.docker(
            "run", "-d", "--name", "second", "-p", f"{port}:80", "busybox", "sleep", "600", check=False
        )
        assert done.code == 125
        assert "driver failed programming external connectivity on endpoint second" in done.err
        words = "port is already allocated" if taken_by == "container" else "address already in use"
        assert words in done.err
        assert cleaned.docker("ps", "-a", "--filter", "name=second", "--format", "{{.Status}}").out.strip() == "Created"
        cleaned.docker("rm", "second")
    finally:
        if holder is not None:
            holder.kill()
            holder.wait()
    cleaned.docker("rm", "-f", "first", check=False)
    serve(cleaned, "third", "-p", f"{port}:80")
    assert local(cleaned, f"http://127.0.0.1:{port}/") == "welcome\n"


def test_a_stopped_container_answers_no_more(cleaned: Engine) -> None:
    serve(cleaned, "web", "-p", "8084:80")
    assert local(cleaned, "http://127.0.0.1:8084/") == "welcome\n"
    cleaned.docker("stop", "-t", "0", "web")
    assert local(cleaned, "http://127.0.0.1:8084/") == ""
    cleaned.docker("start", "web")
    wait_for(lambda: local(cleaned, "http://127.0.0.1:8084/") == "welcome\n", "the page after the restart")
