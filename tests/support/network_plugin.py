"""A network and IPAM plugin of Docker's protocol v1, for tests: a process of its own that makes real bridges and pairs.

    python network_plugin.py SOCKET DIRECTORY

Listens on SOCKET. Below DIRECTORY it keeps its memory (``state.json``), one line for each call (``calls.jsonl``), and
reads ``faults.json``: method name → how to misbehave (``err``, ``hang``, ``junk``, ``long``, ``die``, ``500``, ``404``,
``null``, ``drip``; with ``did`` before it, it first does what it is asked), or → an object, which is the answer.
It needs only the standard library and `ip`, and knows neither of the engines.
"""

import http.server
import ipaddress
import json
import os
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SOCKET, PLACE = sys.argv[1], Path(sys.argv[2])
LOCK = threading.Lock()
GATEWAY = "com.docker.network.gateway"


def ip(*words: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")


class State:
    """What the plugin remembers, kept in a file so that it survives the plugin's own restart."""

    def __init__(self) -> None:
        self.path = PLACE / "state.json"
        empty: dict[str, Any] = {"networks": {}, "endpoints": {}, "pools": {}, "given": {}}
        self.data = json.loads(self.path.read_text()) if self.path.exists() else empty

    def keep(self) -> None:
        self.path.write_text(json.dumps(self.data))


STATE = State()


def bridge_of(network: str) -> str:
    return f"pb-{network[:8]}"


def pair_of(endpoint: str) -> tuple[str, str]:
    return f"pv-{endpoint[:8]}", f"pc-{endpoint[:8]}"


# -- NetworkDriver


def capabilities(_: Any) -> Any:
    return {"Scope": "local", "ConnectivityScope": "local"}


def create_network(ask: Any) -> Any:
    network = ask["NetworkID"]
    if network in STATE.data["networks"]:
        raise RuntimeError("network exists")
    bridge = bridge_of(network)
    gateways = [one["Gateway"] for one in (ask["IPv4Data"] or []) + (ask["IPv6Data"] or []) if one.get("Gateway")]
    ip("link", "add", bridge, "type", "bridge")
    for gateway in gateways:
        ip("addr", "add", gateway, "dev", bridge)
    ip("link", "set", bridge, "up")
    STATE.data["networks"][network] = {"gateways": gateways, "options": ask["Options"], "number": 1}
    return {}


def delete_network(ask: Any) -> Any:
    if STATE.data["networks"].pop(ask["NetworkID"], None) is None:
        raise RuntimeError("no such network")
    ip("link", "del", bridge_of(ask["NetworkID"]))
    return {}


def create_endpoint(ask: Any) -> Any:
    network, endpoint, asked = STATE.data["networks"][ask["NetworkID"]], ask["EndpointID"], ask["Interface"]
    outer, inner = pair_of(endpoint)
    ip("link", "add", outer, "type", "veth", "peer", "name", inner)
    ip("link", "set", outer, "master", bridge_of(ask["NetworkID"]), "up")
    STATE.data["endpoints"][endpoint] = {"network": ask["NetworkID"], "joined": False}
    said: dict[str, str] = {}
    if not asked.get("MacAddress"):
        said["MacAddress"] = "02:77:" + ":".join(endpoint[at : at + 2] for at in (0, 2, 4, 6))
    if not asked.get("Address") and not asked.get("AddressIPv6"):  # no address management: ours, out of nowhere
        network["number"] += 1
        said["Address"] = f"10.99.0.{network['number']}/24"
    return {"Interface": said}


def endpoint_info(ask: Any) -> Any:
    known = STATE.data["endpoints"][ask["EndpointID"]]
    return {"Value": {"joined": str(known["joined"]).lower()}}


def delete_endpoint(ask: Any) -> Any:
    if STATE.data["endpoints"].pop(ask["EndpointID"], None) is None:
        raise RuntimeError("no such endpoint")
    ip("link", "del", pair_of(ask["EndpointID"])[0], check=False)  # the container's end may have taken it along
    return {}


def join(ask: Any) -> Any:
    network = STATE.data["networks"][ask["NetworkID"]]
    STATE.data["endpoints"][ask["EndpointID"]]["joined"] = True
    said: dict[str, Any] = {"InterfaceName": {"SrcName": pair_of(ask["EndpointID"])[1], "DstPrefix": "eth"}}
    options = network["options"].get("com.docker.network.generic") or {}
    for gateway in network["gateways"]:
        address = gateway.partition("/")[0]
        said["GatewayIPv6" if ":" in address else "Gateway"] = address
    if "prefix" in options:
        said["InterfaceName"]["DstPrefix"] = options["prefix"]
    if "route" in options:  # "10.1.0.0/16" through the link, "10.1.0.0/16 10.0.0.1" through a neighbour
        target, _, hop = options["route"].partition(" ")
        said["StaticRoutes"] = [{"Destination": target, "RouteType": 0 if hop else 1, "NextHop": hop}]
    if options.get("gateway") == "none":
        said.pop("Gateway", None)
        said["DisableGatewayService"] = True
    return said


def leave(ask: Any) -> Any:
    STATE.data["endpoints"][ask["EndpointID"]]["joined"] = False
    return {}


# -- IpamDriver


def spaces(_: Any) -> Any:
    return {"LocalDefaultAddressSpace": "plugged", "GlobalDefaultAddressSpace": "plugged-global"}


def request_pool(ask: Any) -> Any:
    taken = {one["pool"] for one in STATE.data["pools"].values()}
    pool = ask.get("Pool") or ""
    if not pool:
        wide = "fd99:{}::/64" if ask.get("V6") else "10.199.{}.0/24"
        pool = next(one for number in range(200) if (one := wide.format(number)) not in taken)
    if pool in taken:
        raise RuntimeError(f"pool {pool} is in use")
    ident = f"plugged/{pool}"
    STATE.data["pools"][ident] = {"pool": pool, "sub": ask.get("SubPool") or pool, "options": ask.get("Options")}
    STATE.data["given"][ident] = []
    data = {}
    if (ask.get("Options") or {}).get("gateway"):
        data[GATEWAY] = ask["Options"]["gateway"]
    return {"PoolID": ident, "Pool": pool, "Data": data}


def release_pool(ask: Any) -> Any:
    if STATE.data["pools"].pop(ask["PoolID"], None) is None:
        raise RuntimeError("no such pool")
    STATE.data["given"].pop(ask["PoolID"])
    return {}


def request_address(ask: Any) -> Any:
    pool, given = STATE.data["pools"][ask["PoolID"]], STATE.data["given"][ask["PoolID"]]
    network = ipaddress.ip_network(pool["pool"])
    wanted = ask.get("Address") or ""
    if not wanted:
        # The last address first, so that nobody takes it for the engine's own choice.
        hosts = ipaddress.ip_network(pool["sub"])
        last = int(hosts.broadcast_address) - 1
        numbers = range(last, last - 200, -1)
        wanted = next(text for number in numbers if (text := str(ipaddress.ip_address(number))) not in given)
    if wanted in given:
        raise RuntimeError(f"address {wanted} is in use")
    given.append(wanted)
    return {"Address": f"{wanted}/{network.prefixlen}", "Data": {}}


def release_address(ask: Any) -> Any:
    STATE.data["given"][ask["PoolID"]].remove(ask["Address"])
    return {}


METHODS = {
    "NetworkDriver.GetCapabilities": capabilities,
    "NetworkDriver.CreateNetwork": create_network,
    "NetworkDriver.DeleteNetwork": delete_network,
    "NetworkDriver.CreateEndpoint": create_endpoint,
    "NetworkDriver.EndpointOperInfo": endpoint_info,
    "NetworkDriver.DeleteEndpoint": delete_endpoint,
    "NetworkDriver.Join": join,
    "NetworkDriver.Leave": leave,
    "NetworkDriver.DiscoverNew": lambda _: {},
    "NetworkDriver.DiscoverDelete": lambda _: {},
    "IpamDriver.GetCapabilities": lambda _: {"RequiresMACAddress": False, "RequiresRequestReplay": False},
    "IpamDriver.GetDefaultAddressSpaces": spaces,
    "IpamDriver.RequestPool": request_pool,
    "IpamDriver.ReleasePool": release_pool,
    "IpamDriver.RequestAddress": request_address,
    "IpamDriver.ReleaseAddress": release_address,
    "Plugin.Activate": lambda _: {"Implements": ["NetworkDriver", "IpamDriver"]},
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method = self.path.lstrip("/")
        ask = json.loads(raw) if raw.strip() else None
        with LOCK, (PLACE / "calls.jsonl").open("a") as log:
            log.write(json.dumps({"method": method, "ask": ask, "accept": self.headers.get("Accept")}) + "\n")
        faults = PLACE / "faults.json"
        fault = json.loads(faults.read_text()).get(method) if faults.exists() else None
        if fault is not None and self.misbehave(fault, method, ask):
            return
        self.done(method, ask)

    def done(self, method: str, ask: Any) -> None:
        handler = METHODS.get(method)
        if handler is None:
            self.say(404, "404 page not found\n", "text/plain")
            return
        word = "Error" if method.startswith("IpamDriver") else "Err"
        with LOCK:
            try:
                answer = handler(ask)
            except (RuntimeError, KeyError, ValueError) as exc:
                answer = {word: str(exc)}
            STATE.keep()
        self.say(200, json.dumps(answer))

    def misbehave(self, fault: Any, method: str, ask: Any) -> bool:
        word = "Error" if method.startswith("IpamDriver") else "Err"
        if isinstance(fault, str) and fault.startswith("did "):  # does it, then misbehaves
            fault = fault.removeprefix("did ")
            with LOCK:
                METHODS[method](ask)
                STATE.keep()
        if isinstance(fault, dict):
            self.say(200, json.dumps(fault))
        elif fault == "err":
            self.say(200, json.dumps({word: f"made to fail in {method}"}))
        elif fault == "500":
            self.say(500, json.dumps({"Err": f"broken in {method}"}))
        elif fault == "404":
            self.say(404, "404 page not found\n", "text/plain")
        elif fault == "junk":
            self.say(200, "<html>")
        elif fault == "null":
            self.say(200, "null")
        elif fault == "long":
            self.say(200, json.dumps({"x": "y" * (8 << 20)}))
        elif fault == "die":
            os._exit(9)
        elif fault == "drip":  # a byte at a time, for ever
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while True:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        elif fault == "hang":
            threading.Event().wait()
        else:
            return False
        return True

    def say(self, status: int, text: str, kind: str = "application/vnd.docker.plugins.v1.2+json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    Path(SOCKET).unlink(missing_ok=True)
    with Server(SOCKET, Handler) as server:
        print("ready", flush=True)
        server.serve_forever()
