"""Every error path of networks, volumes and containers: what is asked, the status and the words that must come back.

Statuses and words are those of current Docker. Where Debian's dockerd 20.10 says something else, `there` has its
status (and words), and `why` says what changed since. Words are compared without regard to case.

Facts were read off dockerd 20.10.24 on this machine, and moby's sources for what changed later.
"""

# ruff: noqa: E501  one case, one line, where it can be
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Reasons that recur.
KIND = "20.10 gives errors without a kind 500"
CHECKS = "20.10 does not check this at creation"
LOOKUP = "20.10 asks for a plugin for 15 s first"
NEWER = "came after 20.10, which keeps and ignores it"
NOT_HERE = "the original does it"
OURS = "an option of ours, which the original keeps and ignores"


@dataclass(frozen=True)
class Case:
    method: str
    path: str
    body: Any
    status: int
    words: str = ""
    there: int = 0
    there_words: str | None = None
    why: str = ""
    #: The original leaves something behind where we do not.
    leaves_there: bool = False
    #: Asked of dockerd too; false where it would hang or take very long.
    ask_there: bool = True

    @property
    def title(self) -> str:
        said = "" if self.body is None else f" {self.body!r}"
        return f"{self.method} {self.path}{said}"[:110]


@dataclass(frozen=True)
class Start:
    """A container that can be created and cannot be started."""

    body: Mapping[str, Any]
    status: int
    words: str
    there: int = 0
    there_words: str | None = None
    why: str = ""
    exit_code: int | None = None
    ask_there: bool = True
    networking: Mapping[str, Any] = field(default_factory=dict)


def _ipam(**config: Any) -> dict[str, Any]:
    return {"Name": "errx", "IPAM": {"Config": [config]}}


def _network(**more: Any) -> dict[str, Any]:
    return {"Name": "errx", **more}


def _run(**more: Any) -> dict[str, Any]:
    return {"Image": "busybox", "Cmd": ["true"], **more}


def _host(**config: Any) -> dict[str, Any]:
    return _run(HostConfig=config)


def _endpoint(**settings: Any) -> dict[str, Any]:
    return _host(NetworkMode="errnet") | {"NetworkingConfig": {"EndpointsConfig": {"errnet": settings}}}


def _mount(**mount: Any) -> dict[str, Any]:
    return _host(Mounts=[mount])


def _volume(options: dict[str, str]) -> dict[str, Any]:
    """A container with a volume of its own making, with options for its driver."""
    driver = {"Name": "local", "Options": options}
    return _mount(Type="volume", Source="errmade", Target="/x", VolumeOptions={"DriverConfig": driver})


_N, _V, _C = "/networks", "/volumes", "/containers"
_CREATE = f"{_C}/create?name=errx"

NETWORKS: Final = (
    Case("POST", f"{_N}/create", {}, 400, "name", 500, why=KIND),
    Case("POST", f"{_N}/create", {"Name": "  "}, 400, "name", 500, why=KIND),
    Case("POST", f"{_N}/create", {"Name": "errnet", "CheckDuplicate": True}, 409,
         "network with name errnet already exists"),
    Case("POST", f"{_N}/create", {"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network"),
    Case("POST", f"{_N}/create", {"Name": "host"}, 403, "operation is not permitted on predefined host network"),
    Case("POST", f"{_N}/create", {"Name": "none"}, 403, "operation is not permitted on predefined none network"),
    Case("POST", f"{_N}/create", _ipam(Subnet="foo"), 400, "foo", 500, why=KIND),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", Gateway="foo"), 400, "foo", 500, why=KIND),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", Gateway="10.179.0.1"), 400, "10.179.0.1", 500, why=KIND),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", IPRange="10.179.0.0/25"), 400, "10.179.0.0/25", 201,
         "", CHECKS),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", IPRange="10.178.0.0/16"), 400, "10.178.0.0/16", 201,
         "", CHECKS),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.3/24"), 400, "10.178.0.0/24", 201, "", CHECKS),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", AuxiliaryAddresses={"a": "10.179.0.9"}), 400,
         "10.179.0.9", 403, why="20.10 finds it late, in the address pool"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.177.0.0/16"), 403, "pool overlaps with other one on this address space"),
    Case("POST", f"{_N}/create", _network(Driver="nope"), 404, 'plugin "nope" not found', why=LOOKUP, ask_there=False),
    Case("POST", f"{_N}/create", _network(IPAM={"Driver": "nope"}), 404, 'plugin "nope" not found', why=LOOKUP,
         ask_there=False),
    Case("POST", f"{_N}/create", _network(Driver="host"), 403, 'only one instance of "host" network is allowed'),
    Case("POST", f"{_N}/create", _network(Driver="null"), 403, 'only one instance of "null" network is allowed'),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.bridge.enable_icc": "maybe"}), 400,
         "failed to parse com.docker.network.bridge.enable_icc value", 500, why=KIND),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.driver.mtu": "abc"}), 400,
         "failed to parse com.docker.network.driver.mtu value", 500, why=KIND),
    Case("POST", f"{_N}/create",
         _network(IPAM={"Config": [{"Subnet": "10.181.0.0/24"}, {"Subnet": "10.182.0.0/24"}]}), 403,
         "support multiple subnets"),
    Case("POST", f"{_N}/create",
         _network(EnableIPv6=True, IPAM={"Config": [{"Subnet": "fd81::/64"}, {"Subnet": "fd82::/64"}]}), 403,
         "support multiple subnets"),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.driver.mtu": "-1"}), 400,
         "invalid MTU number: -1", 500, why=KIND),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.bridge.host_binding_ipv4": "here"}), 400,
         "failed to parse com.docker.network.bridge.host_binding_ipv4 value: here (nil ip)", 500, why=KIND),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.bridge.inhibit_ipv4": "maybe"}), 400,
         "failed to parse com.docker.network.bridge.inhibit_ipv4 value", 500, why=KIND),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.bridge.gateway_mode_ipv6": "odd"}), 400,
         "unknown gateway mode odd", 201, "", "came with Docker 27"),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.bridge.gateway_mode_ipv4": "isolated"}), 500,
         "gateway mode 'isolated' can only be used for an internal network", 201, "", "came with Docker 28"),
    Case("POST", f"{_N}/create", _network(Options={"com.docker.network.enable_ipv4": "perhaps"}), 400,
         "failed to parse com.docker.network.enable_ipv4 value", 201, "", "came with Docker 28"),
    Case("POST", f"{_N}/create", _network(EnableIPv4=False), 400, "IPv4 or IPv6 must be enabled", 201, "",
         "came with API 1.48"),
    Case("POST", f"{_N}/create", _network(EnableIPv6=True, IPAM={"Config": [{"Subnet": "ff02::/64"}]}), 400,
         "multicast subnet", 500, "", KIND),
    Case("POST", f"{_N}/create", _network(EnableIPv6=True, IPAM={"Config": [{"Subnet": "fe80::/80"}]}), 400,
         "clashes with the Link-Local prefix", 500, "", KIND),
    Case("POST", f"{_N}/create", _ipam(Subnet="127.0.0.0/8"), 400, "loopback subnet", 201, "",
         "20.10 makes a network that hides the host's loopback"),
    Case("POST", f"{_N}/create", _ipam(Subnet="224.1.0.0/16"), 400, "multicast subnet", 201, "", CHECKS),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.183.0.0/24", Gateway="10.183.0.9", AuxiliaryAddresses={"a": "10.183.0.9"}),
         500, "failed to allocate secondary ip address (a:10.183.0.9): Address already in use"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.183.0.0/24", AuxiliaryAddresses={"a": "10.183.0.9", "b": "10.183.0.9"}),
         500, "Address already in use"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.183.0.0/24", AuxiliaryAddresses={"a": "10.183.0.255"}),
         500, "failed to allocate secondary ip address (a:10.183.0.255): Address already in use"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.183.0.0/24", Gateway="10.183.0.0"),
         500, "failed to allocate gateway (10.183.0.0): Address already in use"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.183.0.0/24", Gateway="10.183.0.255"),
         500, "failed to allocate gateway (10.183.0.255): Address already in use"),
    Case("POST", f"{_N}/create", _ipam(Subnet="10.178.0.0/24", AuxiliaryAddresses={"DefaultGatewayIPv4": "10.178.0.9"})
         | {"Internal": True}, 400, "no gateway can be set on an internal bridge network", 403, "", "a check of later"),
    Case("POST", f"{_N}/create", _network(ConfigOnly=True, Internal=True), 403,
         "configuration network can only contain network specific fields"),
    Case("POST", f"{_N}/create", _network(ConfigOnly=True, Scope="local"), 403,
         "configuration network can only contain network specific fields"),
    Case("POST", f"{_N}/create", _network(ConfigFrom={"Network": "nosuch"}), 404,
         'configuration network "nosuch" does not exist'),
    Case("POST", f"{_N}/create", _network(ConfigFrom={"Network": "errnet"}), 404, 'configuration network "errnet" does not exist'),
    Case("POST", f"{_N}/create", _network(ConfigFrom={"Network": "errnet"}, Labels={"a": "b"}), 403,
         "user specified configurations are not supported"),
    Case("POST", f"{_N}/create", _network(Driver="overlay"), 403, "This node is not a swarm manager", 500, why=KIND),
    Case("POST", f"{_N}/create", _network(Scope="swarm"), 403, "swarm"),
    Case("POST", f"{_N}/create", b'{"Name":', 400),
    Case("POST", f"{_N}/create", b"", 400, "EOF while reading request body"),
    Case("POST", f"{_N}/create", {"Name": 5}, 400),
    Case("GET", f"{_N}/nosuch", None, 404, "network nosuch not found"),
    Case("DELETE", f"{_N}/nosuch", None, 404, "network nosuch not found"),
    Case("DELETE", f"{_N}/bridge", None, 403, "bridge is a pre-defined network and cannot be removed"),
    Case("DELETE", f"{_N}/host", None, 403, "host is a pre-defined network and cannot be removed"),
    Case("DELETE", f"{_N}/errnet", None, 403, "error while removing network: network errnet"),
    Case("DELETE", f"{_N}/errnet", None, 403, "has active endpoints"),
    Case("POST", f"{_N}/nosuch/connect", {"Container": "errrun"}, 404, "network nosuch not found"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "nosuch"}, 404, "No such container: nosuch"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "errrun"}, 403,
         "endpoint with name errrun already exists in network errnet"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "errhost"}, 400, "cannot be connected to any other network"),
    Case("POST", f"{_N}/host/connect", {"Container": "errrun"}, 400, "host network"),
    Case("POST", f"{_N}/none/connect", {"Container": "errrun"}, 400, "private (none) mode"),
    Case("POST", f"{_N}/bridge/connect", {"Container": "errrun", "EndpointConfig": {"Aliases": ["x"]}}, 400,
         "network-scoped alias"),
    Case("POST", f"{_N}/bridge/connect",
         {"Container": "errrun", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.88.0.9"}}}, 400,
         "user specified IP address is supported on user defined networks only"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "errjoin"}, 400, "cannot be connected to any other network"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "errnone"}, 400, "private (none) mode"),
    Case("POST", f"{_N}/errnet/connect",
         {"Container": "errstop", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.88.0.9"}}}, 400,
         "no configured subnet", why=CHECKS, ask_there=False),
    Case("POST", f"{_N}/errnet/connect",
         {"Container": "errport", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.177.0.1"}}}, 403,
         "Address already in use"),
    Case("POST", f"{_N}/errnet/connect", {"Container": "errport", "EndpointConfig": {
        "DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.eth0.forwarding=1"}}}, 400,
         "net.X.Y.IFNAME.Z=V", why=NEWER, ask_there=False),
    Case("POST", f"{_N}/errnet/disconnect", {"Container": "errstop"}, 500, "is not connected to the network errnet"),
    Case("POST", f"{_N}/nosuch/disconnect", {"Container": "errrun", "Force": True}, 500, "is not connected to the network nosuch"),
    Case("POST", f"{_N}/errnet/disconnect", {}, 400, "", 500, why=KIND, ask_there=False),
    Case("POST", f"{_N}/nosuch/disconnect", {"Container": "errrun"}, 404, "network nosuch not found"),
    Case("POST", f"{_N}/bridge/disconnect", {"Container": "errrun"}, 500, "is not connected to network bridge"),
    Case("POST", f"{_N}/errnet/disconnect", {"Container": "nosuch"}, 404, "No such container: nosuch"),
    Case("POST", f"{_N}/host/disconnect", {"Container": "errhost"}, 400, "host network"),
    Case("POST", f"{_N}/errnet/connect", b"{", 400),
    Case("GET", f'{_N}?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad"),
    Case("GET", f"{_N}?filters=zz", None, 400, "", 500, why=KIND),
    Case("GET", f'{_N}?filters={{"dangling":["x"]}}', None, 400, "filter 'dangling"),
    Case("POST", f'{_N}/prune?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad"),
)  # fmt: skip

_BAD_NAME = 'includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'

VOLUMES: Final = (
    Case("POST", f"{_V}/create", {"Name": "x"}, 400,
         "create x: volume name is too short, names should be at least two alphanumeric characters"),
    Case("POST", f"{_V}/create", {"Name": "x/y"}, 400, f'create x/y: "x/y" {_BAD_NAME}'),
    Case("POST", f"{_V}/create", {"Name": "../y"}, 400, _BAD_NAME),
    Case("POST", f"{_V}/create", {"Name": "a\nb"}, 400, _BAD_NAME),
    Case("POST", f"{_V}/create", {"Name": "errx", "Driver": "nope"}, 404,
         'create errx: error looking up volume plugin nope: plugin "nope" not found', why=LOOKUP, ask_there=False),
    Case("POST", f"{_V}/create", {"Name": "errvol", "Driver": "nope"}, 404, 'plugin "nope" not found', why=LOOKUP,
         ask_there=False),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"foo": "1"}}, 400, 'create errx: invalid option: "foo"'),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"type": "tmpfs"}}, 400,
         'create errx: missing required option: "device"'),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"o": "bind"}}, 400,
         'create errx: missing required option: "device"'),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"device": "/x"}}, 400,
         'create errx: missing required option: "type"'),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {
         "type": "cifs", "o": "username=u", "device": "//server:445/share"}}, 400,
         "create errx: port not allowed in CIFS device URL, include 'port' in 'o='", 201, "",
         "20.10 finds out at the mount"),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"size": "1m"}}, 201, "", 400,
         "create errx: quota size requested but no quota support", why="sizes there need quotas of the file system below"),
    Case("POST", f"{_V}/create", {"Name": "errx", "DriverOpts": {"size": "zz"}}, 400, "create errx: invalid size: 'zz'",
         500, why=KIND),
    Case("POST", f"{_V}/create", {"Name": 5}, 400),
    Case("POST", f"{_V}/create", b'{"Name":', 400),
    Case("POST", f"{_V}/create", b"", 400, "EOF while reading request body"),
    Case("GET", f"{_V}/nosuch", None, 404, "get nosuch: no such volume"),
    Case("GET", f"{_V}/e", None, 404, "get e: no such volume"),
    Case("DELETE", f"{_V}/nosuch", None, 404, "get nosuch: no such volume"),
    Case("DELETE", f"{_V}/nosuch?force=1", None, 204),
    Case("DELETE", f"{_V}/errvol", None, 409, "remove errvol: volume is in use - [{run}]"),
    Case("DELETE", f"{_V}/errvol?force=1", None, 409, "remove errvol: volume is in use - [{run}]"),
    Case("GET", f'{_V}?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad'"),
    Case("GET", f'{_V}?filters={{"dangling":["x"]}}', None, 400, "invalid filter 'dangling="),
    Case("GET", f"{_V}?filters=zz", None, 400),
    Case("POST", f'{_V}/prune?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad'"),
    Case("GET", f'{_V}?filters={{"dangling":["true","false"]}}', None, 400, "invalid filter 'dangling=", 200, "",
         "20.10 takes one of the two"),
    Case("POST", f'{_V}/prune?filters={{"all":["true","false"]}}', None, 400, "invalid filter 'all=", 400,
         "invalid filter 'all'", "pruning by all came with API 1.42"),
    Case("POST", f'{_V}/prune?filters={{"all":["x"]}}', None, 400, "invalid filter 'all=x'", 400,
         "invalid filter 'all'", "the same"),
    Case("PUT", f"{_V}/errvol?version=0", {"Spec": {}}, 503,
         "volume update is only valid for cluster volumes, but swarm is unavailable", 404, "page not found",
         "cluster volumes came with API 1.42"),
    Case("PUT", f"{_V}/nosuch?version=x", {"Spec": {}}, 503, "swarm is unavailable", 404, "page not found", "the same"),
)  # fmt: skip

_SPEC = "invalid volume specification: "

MOUNTS: Final = (
    Case("POST", _CREATE, _host(Binds=["a:b:c:d"]), 400, f"{_SPEC}'a:b:c:d'", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=[""]), 400, f"{_SPEC}''", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["/x:ro"]), 400, f"{_SPEC}'/x:ro'", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["vv:x"]), 400, "invalid mount path: 'x' mount path must be absolute", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["vv:/"]), 400, "destination can't be '/'", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["vv:/x:bad"]), 400, "invalid mode: bad", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["vv:/x:ro,rw"]), 400, "invalid mode: ro,rw", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["vv:/x:rshared"]), 400, "field BindOptions must not be specified", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["/tmp:/x:nocopy"]), 400, "field VolumeOptions must not be specified", 500, why=KIND),
    Case("POST", _CREATE, _host(Binds=["b/d:/x"]), 400, _BAD_NAME),
    Case("POST", _CREATE, _host(Binds=["vv:/x", "ww:/x"]), 400, "Duplicate mount point: /x",
         leaves_there=True, why="20.10 keeps the volumes it made before it saw the mistake"),
    Case("POST", _CREATE, _host(Binds=["vv:/x"], Tmpfs={"/x": ""}), 400, "Duplicate mount point: /x"),
    Case("POST", _CREATE, _host(Binds=["vv:/x"], Mounts=[{"Type": "volume", "Target": "/x"}]), 400,
         "Duplicate mount point: /x", leaves_there=True, why="the same"),
    Case("POST", _CREATE, _host(Tmpfs={"/": ""}), 400, "destination can't be '/'"),
    Case("POST", _CREATE, _host(Tmpfs={"x": ""}), 400, "invalid mount path: 'x' mount path must be absolute"),
    Case("POST", _CREATE, _mount(Target="/x"), 400, "mount type unknown"),
    Case("POST", _CREATE, _mount(Type="foo", Target="/x"), 400, 'invalid mount config for type "foo": mount type unknown'),
    Case("POST", _CREATE, _mount(Type="volume", Target=""), 400, "field Target must not be empty"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x"), 400, "field Source must not be empty"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/no/such/place"), 400,
         'invalid mount config for type "bind": bind source path does not exist: /no/such/place'),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="rel"), 400, "mount path must be absolute"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/tmp", BindOptions={"Propagation": "foo"}), 400,
         "invalid propagation mode: foo"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/tmp", VolumeOptions={}), 400,
         "field VolumeOptions must not be specified"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/x", Source="/tmp"), 400, "field Source must not be specified"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/x", BindOptions={}), 400,
         "field BindOptions must not be specified"),
    Case("POST", _CREATE, _mount(Type="volume", Target="/x", ReadOnly=True), 400,
         "must not set ReadOnly mode when using anonymous volumes"),
    Case("POST", _CREATE, _mount(Type="volume", Source="q/q", Target="/x"), 400, _BAD_NAME),
    Case("POST", _CREATE, _mount(Type="volume", Source="vv", Target="/x", VolumeOptions={"Subpath": "../x"}), 400,
         "subpath must be a relative path within the volume", 201, "", "subpaths came with API 1.45"),
    Case("POST", _CREATE, _mount(Type="volume", Source="vv", Target="/x", VolumeOptions={"Subpath": "/x"}), 400,
         "subpath must be a relative path within the volume", 201, "", "subpaths came with API 1.45"),
    Case("POST", _CREATE, _mount(Type="volume", Target="/x", VolumeOptions={"Subpath": "x"}), 400,
         "must not set Subpath when using anonymous volumes", 201, "", "subpaths came with API 1.45"),
    Case("POST", _CREATE, _mount(Type="volume", Source="vv", Target="/x", BindOptions={}), 400,
         "field BindOptions must not be specified"),
    Case("POST", _CREATE, _mount(Type="volume", Source="vv", Target="/x", TmpfsOptions={}), 400,
         "field TmpfsOptions must not be specified", 201, "", "20.10 does not look"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/tmp", TmpfsOptions={}), 400,
         "field TmpfsOptions must not be specified", 201, "", "20.10 does not look"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/x", VolumeOptions={}), 400,
         "field VolumeOptions must not be specified", 201, "", "20.10 does not look"),
    Case("POST", _CREATE, _mount(Type="bind", Target="x", Source="/tmp"), 400,
         "invalid mount path: 'x' mount path must be absolute"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/"), 400, "destination can't be '/'"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/x", TmpfsOptions={"SizeBytes": -1}), 400, "negative", 201, "",
         "20.10 passes it on"),
    Case("POST", _CREATE, _mount(Type="tmpfs", Target="/x", TmpfsOptions={"Options": [["size", "1"]]}), 400,
         "invalid option", 201, "", "came with API 1.46"),
    Case("POST", _CREATE, _host(Tmpfs={"/x": "foo"}), 400, 'invalid tmpfs option ["foo"]', 201, "",
         "20.10 looks at it when the container starts"),
    Case("POST", _CREATE, _mount(Type="npipe", Source="x", Target="/x"), 400, "mount type unknown"),
    Case("POST", _CREATE, _mount(Type="cluster", Source="x", Target="/x"), 400, "mount type unknown"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/tmp", BindOptions={"ReadOnlyForceRecursive": True}),
         400, "read-only", 201, "", "came with API 1.44"),
    Case("POST", _CREATE, _mount(Type="bind", Target="/x", Source="/tmp", ReadOnly=True,
                                 BindOptions={"ReadOnlyForceRecursive": True, "Propagation": "rslave"}),
         400, "rprivate", 201, "", "came with API 1.44"),
    Case("POST", _CREATE, _mount(Type="image", Source="nosuch", Target="/x"), 404, "No such image: nosuch", 400,
         "mount type unknown", "came with API 1.48"),
    Case("POST", _CREATE, _mount(Type="image", Target="/x"), 400, "field Source must not be empty", 400,
         "mount type unknown", "came with API 1.48"),
    Case("POST", _CREATE, _mount(Type="image", Source="busybox", Target="/x", BindOptions={}), 400,
         "field BindOptions must not be specified", 400, "mount type unknown", "came with API 1.48"),
    Case("POST", _CREATE, _mount(Type="image", Source="busybox", Target="/x", ImageOptions={"Subpath": "../x"}), 400,
         "subpath must be a relative path within the image", 400, "mount type unknown", "came with API 1.48"),
    Case("POST", _CREATE, _mount(Type="volume", Source="errvol", Target="/x",
                                 VolumeOptions={"DriverConfig": {"Name": "nope"}}), 404,
         'plugin "nope" not found', why=LOOKUP, ask_there=False),
    Case("POST", _CREATE, _mount(Type="volume", Source="vv", Target="/x",
                                 VolumeOptions={"DriverConfig": {"Options": {"foo": "1"}}}), 400,
         'create vv: invalid option: "foo"'),
    Case("POST", _CREATE, _host(Mounts=[{"Type": "volume", "Source": "vv", "Target": "/x"},
                                        {"Type": "tmpfs", "Target": "/x/"}]), 400, "Duplicate mount point: /x",
         leaves_there=True, why="20.10 keeps the volumes it made before it saw the mistake"),
    Case("POST", _CREATE, _host(VolumesFrom=["nosuch"]), 400, "No such container: nosuch"),
    Case("POST", _CREATE, _host(VolumesFrom=[""]), 400, "volumes-from specification cannot be an empty string"),
    Case("POST", _CREATE, _host(VolumesFrom=["errrun:zz"]), 400, "invalid mode: zz"),
)  # fmt: skip

_RUN, _STOP, _GONE = f"{_C}/errrun", f"{_C}/errstop", f"{_C}/nosuch"
_SHARED = "container:errrun"

CONTAINERS: Final = (
    Case("POST", _CREATE, {"Image": "nosuch"}, 404, "No such image: nosuch:latest"),
    Case("POST", _CREATE, {"Image": "no such"}, 400, "invalid reference format"),
    Case("POST", _CREATE, {"Image": "UPPER"}, 400, "invalid reference format"),
    Case("POST", _CREATE, {}, 400),
    Case("POST", _CREATE, b"", 400, "", 500, why=KIND),
    Case("POST", _CREATE, b"{", 400, "", 500, why=KIND),
    Case("POST", _CREATE, {"Image": 5}, 400, "", 500, why=KIND),
    Case("POST", f"{_C}/create?name=x", _run(), 400,
         "Invalid container name (x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    Case("POST", f"{_C}/create?name=a/b", _run(), 400, "Invalid container name (a/b)"),
    Case("POST", f"{_C}/create?name=errrun", _run(), 409,
         'Conflict. The container name "/errrun" is already in use by container "{run}"'),
    Case("POST", _CREATE, _host(Memory=1000), 400, "Minimum memory limit allowed is 6MB"),
    Case("POST", _CREATE, _host(NanoCpus=-1), 400, "Range of CPUs is from 0.01 to"),
    Case("POST", _CREATE, _host(PortBindings={"abc/tcp": [{"HostPort": "1"}]}), 400, "abc"),
    Case("POST", _CREATE, _host(PortBindings={"80/tcp": [{"HostPort": "99999"}]}), 400, "99999"),
    Case("POST", _CREATE, _run(Hostname="h", HostConfig={"NetworkMode": _SHARED}), 400,
         "conflicting options: hostname and the network mode"),
    Case("POST", _CREATE, _host(NetworkMode=_SHARED, PortBindings={"80/tcp": [{"HostPort": "8080"}]}), 400,
         "conflicting options: port publishing and the container type network mode"),
    Case("POST", _CREATE, _host(NetworkMode=_SHARED, Dns=["1.1.1.1"]), 400,
         "conflicting options: dns and the network mode"),
    Case("POST", _CREATE, _host(NetworkMode=_SHARED, Links=["errrun:x"]), 400,
         "conflicting options: container type network can't be used with links"),
    Case("POST", _CREATE, _host(NetworkMode=_SHARED, ExtraHosts=["a:10.0.0.1"]), 400,
         "conflicting options: custom host-to-IP mapping and the network mode"),
    Case("POST", _CREATE, _run(MacAddress="02:42:00:00:00:09", HostConfig={"NetworkMode": _SHARED}), 400,
         "conflicting options: mac-address and the network mode"),
    Case("POST", _CREATE, _run(MacAddress="02:42:00:00:00:09", HostConfig={"NetworkMode": "host"}), 400,
         "conflicting options: mac-address and the network mode"),
    Case("POST", _CREATE, _host(NetworkMode=_SHARED, PublishAllPorts=True), 400,
         "conflicting options: port publishing and the container type network mode"),
    Case("POST", _CREATE, _run(ExposedPorts={"80/tcp": {}}, HostConfig={"NetworkMode": _SHARED}), 400,
         "conflicting options: port exposing and the container type network mode"),
    Case("POST", _CREATE, _host(NetworkMode="host", Links=["errrun:x"]), 400,
         "conflicting options: host type networking can't be used with links"),
    Case("POST", _CREATE, _run(Hostname="h", HostConfig={"UTSMode": "host"}), 400,
         "conflicting options: hostname and the UTS mode"),
    Case("POST", _CREATE, _host(NetworkMode="container:"), 400, "invalid container format container:<name|id>"),
    Case("POST", f"/v1.43{_CREATE}", _host(NetworkMode="errnet") | {
        "NetworkingConfig": {"EndpointsConfig": {"errnet": {}, "bridge": {}}}}, 400,
        "multiple network endpoints: bridge, errnet", why="the version is part of the path", ask_there=False),
    Case("POST", _CREATE, _endpoint(IPAMConfig={"IPv4Address": "10.99.0.9"}), 400,
         "no configured subnet contains IP address 10.99.0.9", 201, "", CHECKS),
    Case("POST", _CREATE, _endpoint(IPAMConfig={"LinkLocalIPs": ["nonsense"]}), 400,
         "invalid link-local IP address: nonsense", 201, "", CHECKS),
    Case("POST", _CREATE, _endpoint(MacAddress="02:42"), 400, "02:42", 201, "", CHECKS),
    Case("POST", _CREATE, _endpoint(DriverOpts={"com.docker.network.endpoint.sysctls": "net.core.somaxconn=1"}), 400,
         "unrecognised network interface sysctl 'net.core.somaxconn=1'", 201, "", NEWER),
    Case("POST", _CREATE, _endpoint(DriverOpts={"com.docker.network.endpoint.ifname": "a/b"}), 400,
         "com.docker.network.endpoint.ifname", 201, "", NEWER),
    Case("POST", _CREATE, _endpoint(DriverOpts={"rate-out": "fast"}), 400, "rate-out", 201, "", OURS),
    Case("POST", _CREATE, _host(RestartPolicy={"Name": "bogus"}), 400, "invalid restart policy"),
    Case("POST", _CREATE, _host(RestartPolicy={"Name": "no", "MaximumRetryCount": 3}), 400, "maximum retry count"),
    Case("POST", _CREATE, _host(RestartPolicy={"Name": "always"}, AutoRemove=True), 400,
         "can't create 'AutoRemove' container with restart policy"),
    Case("POST", _CREATE, _run(WorkingDir="rel"), 400, "needs to be an absolute path"),
    Case("POST", _CREATE, _run(StopSignal="NOPE"), 400, "invalid signal: NOPE"),
    Case("POST", _CREATE, _run(Env=["=x"]), 400, "invalid environment variable: =x"),
    Case("POST", _CREATE, _host(CapAdd=["NOPE"]), 400, "unknown capability"),
    Case("POST", _CREATE, _host(Runtime="nope"), 400, "runtime"),
    Case("POST", _CREATE, _host(ExtraHosts=["bad"]), 400, 'bad format for add-host: "bad"'),
    Case("GET", f"{_GONE}/json", None, 404, "No such container: nosuch"),
    Case("POST", f"{_GONE}/start", None, 404, "No such container: nosuch"),
    Case("POST", f"{_RUN}/start", None, 304),
    Case("POST", f"{_GONE}/stop", None, 404, "No such container: nosuch"),
    Case("POST", f"{_STOP}/stop", None, 304),
    Case("POST", f"{_GONE}/kill", None, 404, "No such container: nosuch"),
    Case("POST", f"{_STOP}/kill", None, 409, "is not running"),
    Case("POST", f"{_RUN}/kill?signal=NOPE", None, 400, "invalid signal: NOPE"),
    Case("POST", f"{_RUN}/kill?signal=999", None, 400, "999", 500, why=KIND),
    Case("POST", f"{_GONE}/restart", None, 404, "No such container: nosuch"),
    Case("POST", f"{_RUN}/stop?t=abc", None, 400, "abc", 500, why=KIND),
    Case("POST", f"{_GONE}/pause", None, 404, "No such container: nosuch"),
    Case("POST", f"{_STOP}/pause", None, 409, "is not running"),
    Case("POST", f"{_RUN}/unpause", None, 409, "is not paused", 500, why=KIND),
    Case("POST", f"{_GONE}/rename?name=aa", None, 404, "No such container: nosuch"),
    Case("POST", f"{_RUN}/rename?name=errstop", None, 409, 'The container name "/errstop" is already in use'),
    Case("POST", f"{_RUN}/rename?name=", None, 400, "Neither old nor new names may be empty"),
    Case("POST", f"{_RUN}/rename?name=a/b", None, 400, "Invalid container name ("),
    Case("POST", f"{_RUN}/rename?name=errrun", None, 400, "Renaming a container with the same name as its current name"),
    Case("DELETE", _GONE, None, 404, "No such container: nosuch"),
    Case("DELETE", f"{_GONE}?force=1", None, 404, "No such container: nosuch"),
    Case("DELETE", _RUN, None, 409, "container is running: stop the container before removing or force remove",
         there_words="You cannot remove a running container {run}", why="current Docker words it anew"),
    Case("POST", f"{_GONE}/exec", {"Cmd": ["true"]}, 404, "No such container: nosuch"),
    Case("POST", f"{_STOP}/exec", {"Cmd": ["true"]}, 409, "is not running"),
    Case("POST", f"{_RUN}/exec", {"Cmd": []}, 400, "No exec command specified"),
    Case("POST", f"{_RUN}/exec", b"{", 400),
    Case("POST", "/exec/nosuch/start", {}, 404, "No such exec instance"),
    Case("GET", "/exec/nosuch/json", None, 404, "No such exec instance"),
    Case("POST", "/exec/nosuch/resize?h=1&w=1", None, 404, "No such exec instance"),
    Case("GET", f"{_GONE}/logs?stdout=1", None, 404, "No such container: nosuch"),
    Case("GET", f"{_RUN}/logs", None, 400, "you must choose at least one stream"),
    Case("GET", f"{_RUN}/logs?stdout=1&since=zz", None, 400, "", 500, why=KIND),
    Case("POST", f"{_GONE}/wait", None, 404, "No such container: nosuch"),
    Case("POST", f"{_RUN}/wait?condition=zz", None, 400, "condition", why="20.10 waits for an exit", ask_there=False),
    Case("GET", f"{_GONE}/top", None, 404, "No such container: nosuch"),
    Case("GET", f"{_STOP}/top", None, 409, "is not running"),
    Case("GET", f"{_GONE}/archive?path=/", None, 404, "No such container: nosuch"),
    Case("GET", f"{_RUN}/archive?path=/nosuch", None, 404, "Could not find the file /nosuch in container errrun"),
    Case("GET", f"{_RUN}/archive", None, 400, "path"),
    Case("PUT", f"{_GONE}/archive?path=/", b"", 404, "No such container: nosuch"),
    Case("PUT", f"{_RUN}/archive?path=/nosuch", b"", 404, "Could not find the file /nosuch in container errrun"),
    Case("HEAD", f"{_RUN}/archive?path=/nosuch", None, 404),
    Case("GET", f"{_GONE}/stats?stream=0", None, 404, "No such container: nosuch"),
    Case("GET", f"{_GONE}/changes", None, 404, "No such container: nosuch"),
    Case("POST", f"{_GONE}/attach?stream=1", None, 404, "No such container: nosuch"),
    Case("POST", f"{_GONE}/resize?h=1&w=1", None, 404, "No such container: nosuch"),
    Case("POST", f"{_STOP}/resize?h=1&w=1", None, 409, "is not running"),
    Case("POST", f"{_RUN}/resize?h=a&w=1", None, 400),
    Case("POST", f"{_GONE}/update", {}, 404, "No such container: nosuch"),
    Case("GET", f"{_GONE}/export", None, 404, "No such container: nosuch"),
    Case("GET", f'{_C}/json?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad'"),
    Case("GET", f'{_C}/json?filters={{"status":["x"]}}', None, 400, "invalid filter 'status=x'"),
    Case("GET", f'{_C}/json?filters={{"exited":["x"]}}', None, 400, "", 500, why=KIND),
    Case("GET", f"{_C}/json?limit=zz", None, 400, "zz", 500, why=KIND),
    Case("POST", f'{_C}/prune?filters={{"bad":["x"]}}', None, 400, "invalid filter 'bad'"),
    Case("DELETE", f"{_STOP}?link=1", None, 409, "Conflict, cannot remove the default link name of the container", 500, why=KIND),
    Case("GET", "/services", None, 503, "This node is not a swarm manager."),
    Case("POST", "/secrets/create", {}, 503, "This node is not a swarm manager."),
    Case("GET", "/nodes/x", None, 503, "This node is not a swarm manager."),
    Case("POST", "/swarm/leave", None, 503, "This node is not part of a swarm"),
    Case("POST", "/swarm/init", {}, 501, "swarms are not offered", why=NOT_HERE, ask_there=False),
    Case("POST", "/build", b"", 501, "building images is not offered", why=NOT_HERE, ask_there=False),
    Case("GET", "/plugins/privileges?remote=x", None, 501, "plugins are not installed", why=NOT_HERE, ask_there=False),
    Case("GET", "/nosuch", None, 404, "page not found"),
    Case("POST", f"{_C}/json", None, 404, "page not found"),
)  # fmt: skip

STARTS: Final = (
    Start(_run(Cmd=["/nosuch"]), 400, "no such file or directory", exit_code=127),
    Start(_run(Cmd=["nosuch"]), 400, "executable file not found in $PATH", exit_code=127),
    Start(_run(Cmd=["/etc"]), 400, "", exit_code=126),
    Start(_run(User="nosuch"), 500, "unable to find user nosuch", exit_code=None),
    Start(_host(NetworkMode="nosuch"), 404, "network nosuch not found"),
    Start(_host(NetworkMode="container:nosuch"), 500, "No such container: nosuch", 404,
          why="the start is not at fault, what it refers to is"),
    Start(_host(NetworkMode="container:errstop"), 409, "non running container"),
    Start(_host(NetworkMode="container:errx"), 500, "cannot join own network namespace",
          there_words="cannot join own network"),
    Start(_host(NetworkMode="errnet") | {
        "NetworkingConfig": {"EndpointsConfig": {"errnet": {"IPAMConfig": {"IPv4Address": "10.177.0.1"}}}}},
        403, "Address already in use"),
    Start(_host(PortBindings={"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]})
          | {"ExposedPorts": {"80/tcp": {}}}, 500,
          "Bind for 127.0.0.1:18099 failed: port is already allocated"),
    Start(_host(Links=["errstop:x"]), 500, "Cannot link to a non running container"),
    Start(_host(Binds=["/tmp:/etc/passwd"]), 400, "Are you trying to mount a directory onto a file (or vice-versa)?"),
    Start(_host(Binds=["/etc/hostname:/etc"]), 400, "Are you trying to mount a directory onto a file (or vice-versa)?"),
    Start(_host(Binds=["errvol:/bin/sh"]), 500, "/bin/sh", why="20.10 fills volumes at creation", ask_there=False),
    Start(_volume({"type": "nfs", "o": "addr=127.0.0.1", "device": ":/x"}), 500,
          "error while mounting volume '"),
    Start(_volume({"type": "cifs", "o": "addr=127.0.0.1,username=u,password=secret", "device": "//h/x"}), 500,
          "failed to mount local volume: mount //h/x:"),
    Start(_volume({"type": "nfs", "o": "addr=nosuch.invalid", "device": ":/x"}), 500,
          "error resolving passed in network volume address"),
    Start(_volume({"type": "none", "o": "bind", "device": "/no/such"}), 500,
          "no such file or directory"),
    Start(_mount(Type="volume", Source="errvol", Target="/x", VolumeOptions={"Subpath": "no/such"}), 500,
          "no such file", why="subpaths came with API 1.45", ask_there=False),
    Start(_mount(Type="image", Source="busybox", Target="/x", ImageOptions={"Subpath": "no/such"}), 500,
          "no such file", why="images came with API 1.48", ask_there=False),
)  # fmt: skip
