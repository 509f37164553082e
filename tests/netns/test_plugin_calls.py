"""Calls of a real plugin process: what it is sent, and what comes of one that fails, hangs, babbles or is not there."""

import http.server
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.base.errors import Kind
from berth.plugins.discovery import Places
from berth.plugins.errors import (
    BadPluginFile,
    PluginBabbles,
    PluginLacks,
    PluginNotFound,
    PluginRefused,
    PluginSilent,
    PluginStatus,
    PluginUnreachable,
)
from berth.plugins.rpc import ACCEPT, Nothing, Plugins
from berth.wire.plugins import Capabilities, JoinAnswer
from tests.support.engines import wait_for
from tests.support.pace import Pace
from tests.support.plugins import PluginProcess

pytestmark = pytest.mark.root

CAPABILITIES = "NetworkDriver.GetCapabilities"


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[PluginProcess]:
    one = PluginProcess(tmp_path / "plug.sock", tmp_path / "plug")
    yield one
    one.kill()


@pytest.fixture
def plugins(tmp_path: Path) -> Plugins:
    return Plugins(Places((tmp_path,), (tmp_path,)), limit_s=60, patience_s=0.7, first_pause_s=0.1)


def test_a_call_wakes_the_plugin_once_and_says_what_we_understand(plugin: PluginProcess, plugins: Plugins) -> None:
    for _ in range(2):
        said = plugins.call("plug", CAPABILITIES, None, Capabilities)
        assert (said.scope, said.connectivity_scope) == ("local", "local")
    assert plugin.methods() == ["Plugin.Activate", CAPABILITIES, CAPABILITIES]
    assert {one["accept"] for one in plugin.calls} == {ACCEPT}
    plugins.call("plug", "NetworkDriver.DiscoverNew", {"DiscoveryType": 1}, Nothing)
    assert plugin.last("NetworkDriver.DiscoverNew") == {"DiscoveryType": 1}


def test_a_plugin_made_anew_is_woken_again(plugin: PluginProcess, plugins: Plugins) -> None:
    plugins.require("plug", "NetworkDriver")
    plugin.kill()
    plugin.start()
    plugins.require("plug", "NetworkDriver")
    assert plugin.methods().count("Plugin.Activate") == 2


def test_what_is_not_there_or_not_implemented(plugin: PluginProcess, plugins: Plugins) -> None:
    with pytest.raises(PluginNotFound, match='plugin "other" not found') as caught:
        plugins.call("other", CAPABILITIES, None, Nothing)
    assert caught.value.kind is Kind.NOT_FOUND
    with pytest.raises(PluginLacks, match="Plugin does not implement the requested driver"):
        plugins.require("plug", "VolumeDriver")


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("err", PluginRefused, f"remote: made to fail in {CAPABILITIES}"),
        ("500", PluginStatus, f"{CAPABILITIES}: broken in {CAPABILITIES}"),
        ("404", PluginStatus, f"{CAPABILITIES}: 404 page not found"),
        ("junk", PluginBabbles, "something else than the protocol"),
        ("null", PluginBabbles, "something else than the protocol"),
        ("long", PluginBabbles, "more than"),
        ({"Scope": 5}, PluginBabbles, "Scope"),
        ("hang", PluginSilent, "no answer within 0.5 s"),
        ("drip", PluginSilent, "no answer within 0.5 s"),
    ],
)
def test_misbehaviour_has_an_end_and_a_name(
    plugin: PluginProcess, plugins: Plugins, fault: object, error: type[Exception], words: str
) -> None:
    plugins.require("plug", "NetworkDriver")
    plugin.faults(NetworkDriver_GetCapabilities=fault)
    clock = Pace(lambda: (os.getpid(), plugin.process.pid if plugin.process else 0))
    with pytest.raises(error) as caught:
        plugins.call("plug", CAPABILITIES, None, Capabilities, limit_s=0.5 if error is PluginSilent else 60)
    assert words in str(caught.value)
    assert clock.taken() < 5
    plugin.faults()
    assert plugins.call("plug", CAPABILITIES, None, Capabilities).scope == "local"


def test_a_plugin_that_dies_in_a_call_is_waited_for(plugin: PluginProcess, tmp_path: Path) -> None:
    patient = Plugins(Places((tmp_path,), ()), limit_s=60, patience_s=60, first_pause_s=0.05)
    patient.require("plug", "NetworkDriver")
    plugin.faults(NetworkDriver_GetCapabilities="die")

    def back_again() -> None:
        assert plugin.process is not None
        plugin.process.wait()
        plugin.faults()
        plugin.kill()
        plugin.start()

    helper = threading.Thread(target=back_again)
    helper.start()
    assert patient.call("plug", CAPABILITIES, None, Capabilities).scope == "local"
    helper.join()
    assert plugin.methods().count(CAPABILITIES) >= 2


def test_a_dead_plugins_socket_is_given_up_after_a_while(plugin: PluginProcess, plugins: Plugins) -> None:
    plugins.require("plug", "NetworkDriver")
    plugin.kill()
    with pytest.raises(PluginUnreachable) as caught:
        plugins.call("plug", CAPABILITIES, None, Capabilities)
    assert "connection refused" in str(caught.value)
    assert "is plugin plug running?" in str(caught.value)


def test_keys_in_any_case_and_nulls_are_read_as_go_reads_them(plugin: PluginProcess, plugins: Plugins) -> None:
    plugin.faults(
        NetworkDriver_Join={
            "interfacename": {"srcname": "x", "DSTPREFIX": "eth"},
            "Gateway": None,
            "staticroutes": [{"destination": "10.0.0.0/8", "routeType": 1}],
            "More": {"of": ["it"]},
        }
    )
    said = plugins.call("plug", "NetworkDriver.Join", {}, JoinAnswer)
    assert said.interface is not None
    assert (said.interface.source, said.interface.prefix, said.gateway) == ("x", "eth", "")
    assert said.routes is not None
    assert [(one.destination, one.kind) for one in said.routes] == [("10.0.0.0/8", 1)]


# -- over TCP and TLS ----------------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = b'{"Implements": ["NetworkDriver"], "Scope": "global"}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _serve(context: ssl.SSLContext | None = None) -> http.server.HTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_over_tcp(tmp_path: Path, plugins: Plugins) -> None:
    with _serve() as server:
        for scheme in ("tcp", "http"):
            (tmp_path / "far.spec").write_text(f"{scheme}://127.0.0.1:{server.server_port}\n")
            assert plugins.call("far", CAPABILITIES, None, Capabilities).scope == "global"
        server.shutdown()
    with pytest.raises(PluginUnreachable, match="connection refused"):
        plugins.call("far", CAPABILITIES, None, Capabilities)


def test_over_tls_with_both_sides_known(tmp_path: Path, plugins: Plugins) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=plugin",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED

    def told(tls: str) -> None:
        (tmp_path / "far.json").write_text(f'{{"Addr": "https://127.0.0.1:{server.server_port}", "TLSConfig": {tls}}}')

    with _serve(context) as server:
        pair = f'"CertFile": "{certificate}", "KeyFile": "{key}"'
        told(f'{{"CAFile": "{certificate}", {pair}}}')
        assert plugins.call("far", CAPABILITIES, None, Capabilities).scope == "global"
        told(f"{{{pair}}}")
        assert plugins.call("far", CAPABILITIES, None, Capabilities).scope == "global"
        told(f'{{"CAFile": "/etc/ssl/certs/ca-certificates.crt", {pair}}}')
        with pytest.raises((PluginUnreachable, BadPluginFile)):
            plugins.call("far", CAPABILITIES, None, Capabilities)
        told(f'{{"CAFile": "{tmp_path}/none"}}')
        with pytest.raises(BadPluginFile, match="none: no such file"):
            plugins.call("far", CAPABILITIES, None, Capabilities)
        server.shutdown()


def test_threads_may_call_at_once(plugin: PluginProcess, plugins: Plugins) -> None:
    answers: list[str] = []
    before = threading.active_count()
    threads = [
        threading.Thread(target=lambda: answers.append(plugins.call("plug", CAPABILITIES, None, Capabilities).scope))
        for _ in range(20)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert answers == ["local"] * 20
    wait_for(lambda: threading.active_count() <= before, "the timers to end")
