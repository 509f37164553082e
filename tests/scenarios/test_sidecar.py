"""Containers that go out through another's network: they have it again when the other comes back, however it went."""

from pathlib import Path

import pytest

from tests.scenarios.test_names import reaches
from tests.support.engines import Berth, wait_for

pytestmark = pytest.mark.root

LISTEN = "while true; do echo here | nc -l -p 7000; done"


def started_at(engine: Berth, name: str) -> str:
    return engine.docker("inspect", "-f", "{{.State.StartedAt}}", name).out


def published(engine: Berth) -> str:
    return engine.host("timeout", "2", "bash", "-c", "cat </dev/tcp/127.0.0.1/17000", check=False).out


def test_a_joiner_outlives_its_owners_restarts_and_recreation(own_berth: Berth) -> None:
    engine = own_berth
    engine.docker("network", "create", "sea")

    def vpn() -> None:
        engine.docker("run", "-d", "--name", "vpn", "--network", "sea", "-p", "17000:7000", "busybox", "sleep", "600")

    vpn()
    engine.docker("run", "-d", "--name", "peer", "--network", "sea", "busybox", "sh", "-c", LISTEN)
    engine.docker("run", "-d", "--name", "app", "--network", "container:vpn", "busybox", "sh", "-c", LISTEN)
    began = started_at(engine, "app")

    def meets(what: str) -> None:
        # a listener of busybox takes one call and is started again: it may be away for a moment
        wait_for(lambda: reaches(engine, "app", "peer"), f"the way out, by name, {what}")
        wait_for(lambda: reaches(engine, "peer", "vpn"), f"the way in, {what}")
        wait_for(lambda: "here" in published(engine), f"the way in from the host, {what}")
        address = engine.docker("inspect", "-f", '{{(index .NetworkSettings.Networks "sea").IPAddress}}', "vpn").out
        assert address.strip() in engine.docker("exec", "app", "cat", "/etc/hosts").out, what

    meets("at first")
    engine.docker("restart", "-t", "0", "vpn")
    meets("after a restart")
    engine.docker("kill", "vpn")
    refused = engine.docker("run", "--network", "container:vpn", "busybox", "true", check=False)
    assert refused.code == 125
    assert "cannot join network namespace of a non running container" in refused.err
    engine.docker("start", "vpn")
    meets("after a kill")
    engine.docker("rm", "-f", "vpn")
    assert not reaches(engine, "app", "peer")
    vpn()
    meets("after it was made anew")
    # the daemon dies while nobody owns the namespace
    engine.docker("rm", "-f", "vpn")
    engine.kill9()
    engine.start()
    vpn()
    meets("after that and a crash of the daemon")
    assert started_at(engine, "app") == began, "all that without a restart"
    engine.docker("restart", "-t", "0", "app")
    meets("after the joiner's own restart")
    engine.wipe_containers()
    engine.docker("network", "rm", "sea")
    wait_for(lambda: not engine.leaks(), "nothing to be left")


def test_a_service_in_another_services_network(own_berth: Berth, tmp_path: Path) -> None:
    engine = own_berth
    (tmp_path / "compose.yaml").write_text(
        "name: cove\nservices:\n"
        "  vpn: {image: busybox, init: true, command: sleep 600}\n"
        f"  app: {{image: busybox, init: true, network_mode: 'service:vpn', command: [sh, -c, '{LISTEN}']}}\n"
        f"  peer: {{image: busybox, init: true, command: [sh, -c, '{LISTEN}']}}\n"
    )
    engine.berth("compose", "up", "-d", cwd=tmp_path)
    began = started_at(engine, "cove-app-1")
    wait_for(lambda: reaches(engine, "cove-app-1", "peer"), "the service to reach its peer")
    engine.berth("compose", "restart", "-t", "0", "vpn", cwd=tmp_path)
    wait_for(lambda: reaches(engine, "cove-app-1", "peer"), "the service to reach its peer again")
    if started_at(engine, "cove-app-1") == began:  # compose may restart dependents, as Docker's does
        wait_for(lambda: reaches(engine, "cove-peer-1", "vpn"), "the peer to reach the service")
    engine.docker("restart", "-t", "0", "cove-vpn-1")
    wait_for(lambda: reaches(engine, "cove-app-1", "peer"), "the service to reach its peer after a restart")
    engine.berth("compose", "down", "-t", "0", cwd=tmp_path)
    wait_for(lambda: not engine.leaks(), "nothing to be left")
