"""The keys of the Compose language, as one table of kinds. Pure data, but for a few long forms that need a finish.

The table follows the newest Compose specification, and has what Docker Compose knows beyond it (`pre_start`).
"""

from typing import Final

from berth.compose import short
from berth.compose.errors import Mark, Path
from berth.compose.schema import (
    Anything,
    Boolean,
    Context,
    Converted,
    Expanding,
    KeyValues,
    Kind,
    ListOf,
    MapOf,
    Number,
    Record,
    Size,
    Text,
    with_marks,
)
from berth.compose.values import Map, Seq, Value

#: Names of services, networks, volumes, configs and secrets.
NAMES: Final = r"[a-zA-Z0-9._-]+\Z"

ANY: Final = Anything()
TEXT: Final = Text()
LOOSE: Final = Text(numbers=True)
BOOL: Final = Boolean()
INT: Final = Number()
NUMBER: Final = Number(whole=False)
SIZE: Final = Size()
DURATION: Final = Text(parse=short.duration)
TEXTS: Final = ListOf(TEXT, unique=True)
ORDERED: Final = ListOf(TEXT)
TEXT_OR_TEXTS: Final = ListOf(TEXT, single=True, unique=True)
PAIRS: Final = KeyValues()
LABELS: Final = KeyValues(bare="")
OPTIONS: Final = MapOf(LOOSE)


class Command:
    """A command: null, a line to be split, or a list of words."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the list of words."""
        if isinstance(value, str) and not context.is_template(value):
            return with_marks(_words.check(value, path, mark, context), None)
        if isinstance(value, str):
            return value
        return ORDERED.check(value, path, mark, context)


_words: Final = Text(parse=short.shell_words)
COMMAND: Final = Command()


def _string(value: Value) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _port_entries(value: Value) -> list[dict[str, Value]]:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a port: a number, a string or a mapping")  # noqa: TRY004  told to the user
    return short.ports(str(value))


def _published(text: str) -> str:
    low, high = short.port_range(text)
    return text if high > low else str(low)


class Port:
    """The long form of a published port."""

    _record: Final = Record(
        {
            "name": TEXT,
            "mode": TEXT,
            "host_ip": TEXT,
            "target": Number(1, short.MAX_PORT),
            "published": Text(parse=_published, numbers=True),
            "protocol": Text("tcp", "udp", "sctp"),
            "app_protocol": TEXT,
        },
        required=("target",),
    )

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Fill in mode and protocol."""
        found = self._record.check(value, path, mark, context)
        if isinstance(found, Map):
            found.setdefault("mode", "ingress")
            found.setdefault("protocol", "tcp")
        return found


class Depends:
    """`depends_on`: a list of services, or a map to conditions."""

    _conditions: Final = MapOf(
        Record(
            {
                "condition": Text("service_started", "service_healthy", "service_completed_successfully"),
                "restart": BOOL,
                "required": BOOL,
            }
        ),
        keys=NAMES,
        null=True,
    )

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the map form; `required` is always said."""
        if isinstance(value, Seq):
            named = Map()
            for index, name in enumerate(value):
                if not isinstance(name, str):
                    context.fault(value.marks[index], (*path, index), "must be the name of a service")
                    continue
                entry = with_marks({"condition": "service_started"}, value.marks[index])
                named.put(name, entry, value.marks[index])
            value = named
        found = self._conditions.check(value, path, mark, context)
        if isinstance(found, Map):
            for name in found:
                if found[name] is None:
                    found[name] = with_marks({"condition": "service_started"}, found.marks.get(name))
                if isinstance(found[name], Map):
                    found[name].setdefault("required", True)
        return found


class Named:
    """A list of names, or a map from names to details."""

    def __init__(self, detail: Kind) -> None:
        self._map = MapOf(detail, keys=NAMES, null=True)

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the map form; a name without details maps to null."""
        if isinstance(value, Seq):
            named = Map()
            for index, name in enumerate(value):
                if not isinstance(name, str):
                    context.fault(value.marks[index], (*path, index), "must be a name")
                    continue
                named.put(name, None, value.marks[index])
            value = named
        return self._map.check(value, path, mark, context)


class ExtraHosts:
    """`extra_hosts` in its three forms; canonically a list of `host=address`."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the list form without repetitions."""
        if isinstance(value, Map):
            flat = Seq()
            for host, addresses in value.items():
                for address in addresses if isinstance(addresses, Seq) else [addresses]:
                    flat.add(f"{host}={address}", value.marks.get(host))
            value = flat
        return _hosts.check(value, path, mark, context)


_hosts: Final = ListOf(Text(parse=short.extra_host), unique=True)
EXTRA_HOSTS: Final = ExtraHosts()


class Test:
    """The test of a health check: a shell line, or a list beginning with CMD, CMD-SHELL or NONE."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the list form."""
        if isinstance(value, str):
            return with_marks(["CMD-SHELL", value], None)
        found = ORDERED.check(value, path, mark, context)
        if isinstance(found, Seq) and found and found[0] not in {"CMD", "CMD-SHELL", "NONE"}:
            context.fault(found.marks[0], path, 'must start either by "CMD", "CMD-SHELL" or "NONE"')
        return found


class Ulimit:
    """One limit: a number for both bounds, or soft and hard apart."""

    _both: Final = Record({"soft": INT, "hard": INT}, required=("soft", "hard"))

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Keep the form it has."""
        kind: Kind = self._both if isinstance(value, Map) else INT
        return kind.check(value, path, mark, context)


class External:
    """`external`: a boolean, or the old form with a name, which the caller of the walk resolves."""

    _old: Final = Record({"name": TEXT})

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Check either form."""
        kind: Kind = self._old if isinstance(value, Map) else BOOL
        return kind.check(value, path, mark, context)


def _octal(value: str) -> int:
    return int(short.mode(value), 8)


class FileMode:
    """Permission bits: digits are octal; canonically a text such as 0440."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """YAML already read an unquoted 0440 as a number; print it back."""
        if isinstance(value, int) and not isinstance(value, bool):
            return f"0{value:03o}"
        return _mode.check(value, path, mark, context)


class TmpfsMode:
    """Permission bits of a tmpfs; canonically a number."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept an octal number, as YAML reads it or as a text."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        return _tmpfs_mode.check(value, path, mark, context)


_mode: Final = Text(parse=short.mode)
_tmpfs_mode: Final = Text(parse=_octal)


def _finish_mount(found: Map) -> None:
    kind = found["type"]
    if kind in {"npipe", "cluster"}:
        raise ValueError(f"mounts of type {kind} are not supported")
    if not found.get("target"):
        raise ValueError("target is required")
    found["target"] = short.clean_target(found["target"])
    if kind == "bind" and not found.get("source"):
        raise ValueError("source is required for a bind mount")
    if kind == "image" and not found.get("source"):
        raise ValueError("source is required for an image mount")
    if kind == "tmpfs" and found.get("source"):
        raise ValueError("a tmpfs mount has no source")
    found.setdefault(kind, Map())


class Mount:
    """A mount in either form; host paths become absolute."""

    _long: Final = Converted(
        Record(
            {
                "type": Text("bind", "volume", "tmpfs", "cluster", "npipe", "image"),
                "source": TEXT,
                "target": TEXT,
                "read_only": BOOL,
                "consistency": TEXT,
                "bind": Record(
                    {
                        "propagation": Text("shared", "rshared", "slave", "rslave", "private", "rprivate"),
                        "create_host_path": BOOL,
                        "recursive": Text("enabled", "disabled", "writable", "readonly"),
                        "selinux": Text("z", "Z"),
                    }
                ),
                "volume": Record({"labels": LABELS, "nocopy": BOOL, "subpath": TEXT}),
                "tmpfs": Record({"size": SIZE, "mode": TmpfsMode()}),
                "image": Record({"subpath": TEXT}),
            },
            required=("type",),
        ),
        lambda value, context: short.mount(_string(value), context.resolve),
        finish=_finish_mount,
    )

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the long form."""
        found = self._long.check(value, path, mark, context)
        if isinstance(found, Map) and isinstance(value, Map) and found.get("type") == "bind" and "source" in found:
            found["source"] = context.resolve(found["source"])
        return found


class HostPath:
    """A path on the host; made absolute."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Resolve it against the directory of the file that names it."""
        found = TEXT.check(value, path, mark, context)
        return context.resolve(found) if isinstance(found, str) and not context.is_template(found) else found


HOST_PATH: Final = HostPath()


class BuildContext:
    """The context of a build: a directory, or a URL that is left alone."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Resolve a directory."""
        found = TEXT.check(value, path, mark, context)
        remote = isinstance(found, str) and ("://" in found or found.startswith(("git@", "github.com/")))
        return found if remote or not isinstance(found, str) or context.is_template(found) else context.resolve(found)


def _file_reference(value: Value, _context: Context) -> Value:
    return {"source": _string(value)}


REFERENCES: Final = ListOf(
    Converted(
        Record({"source": TEXT, "target": TEXT, "uid": LOOSE, "gid": LOOSE, "mode": FileMode()}, required=("source",)),
        _file_reference,
    )
)
ULIMITS: Final = MapOf(Ulimit(), keys=r"[a-z]+\Z", key_text="small letters only")

HOOKS: Final = ListOf(
    Record(
        {
            "command": COMMAND,
            "user": LOOSE,
            "privileged": BOOL,
            "working_dir": TEXT,
            "environment": PAIRS,
            "image": TEXT,
            "per_replica": BOOL,
        },
        required=("command",),
    )
)

BUILD: Final = Converted(
    Record(
        {
            "context": BuildContext(),
            "dockerfile": TEXT,
            "dockerfile_inline": TEXT,
            "entitlements": TEXTS,
            "args": PAIRS,
            "ssh": PAIRS,
            "labels": LABELS,
            "cache_from": TEXTS,
            "cache_to": TEXTS,
            "no_cache": BOOL,
            "no_cache_filter": TEXT_OR_TEXTS,
            "additional_contexts": PAIRS,
            "network": TEXT,
            "provenance": ANY,
            "sbom": ANY,
            "pull": BOOL,
            "target": TEXT,
            "shm_size": SIZE,
            "extra_hosts": EXTRA_HOSTS,
            "isolation": TEXT,
            "privileged": BOOL,
            "secrets": REFERENCES,
            "tags": TEXTS,
            "ulimits": ULIMITS,
            "platforms": TEXTS,
        }
    ),
    lambda value, context: {"context": context.resolve(_string(value))},
)

HEALTHCHECK: Final = Record(
    {
        "disable": BOOL,
        "interval": DURATION,
        "retries": INT,
        "test": Test(),
        "timeout": DURATION,
        "start_period": DURATION,
        "start_interval": DURATION,
    }
)


class Count:
    """A number of devices; `all` is -1."""

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Accept a number or `all`."""
        return -1 if value == "all" else INT.check(value, path, mark, context)


_DEVICE_FIELDS: Final[dict[str, Kind]] = {
    "capabilities": ORDERED,
    "count": Count(),
    "device_ids": ORDERED,
    "driver": TEXT,
    "options": PAIRS,
}


class Gpus:
    """`gpus`: all of them, or a list of requests."""

    _list: Final = ListOf(Record(_DEVICE_FIELDS))

    def check(self, value: Value, path: Path, mark: Mark | None, context: Context) -> Value:
        """Return the list form."""
        if value == "all":
            return with_marks([{"count": -1}], None)
        return self._list.check(value, path, mark, context)


_UPDATE: Final = Record(
    {
        "parallelism": INT,
        "delay": DURATION,
        "failure_action": TEXT,
        "monitor": DURATION,
        "max_failure_ratio": NUMBER,
        "order": Text("start-first", "stop-first"),
    }
)
DEPLOY: Final = Record(
    {
        "mode": TEXT,
        "endpoint_mode": TEXT,
        "replicas": Number(0),
        "labels": LABELS,
        "rollback_config": _UPDATE,
        "update_config": _UPDATE,
        "resources": Record(
            {
                "limits": Record({"cpus": NUMBER, "memory": SIZE, "pids": INT}),
                "reservations": Record(
                    {
                        "cpus": NUMBER,
                        "memory": SIZE,
                        "generic_resources": ListOf(
                            Record({"discrete_resource_spec": Record({"kind": TEXT, "value": NUMBER})})
                        ),
                        "devices": ListOf(Record(_DEVICE_FIELDS, required=("capabilities",))),
                    }
                ),
            }
        ),
        "restart_policy": Record({"condition": TEXT, "delay": DURATION, "max_attempts": INT, "window": DURATION}),
        "placement": Record(
            {
                "constraints": TEXTS,
                "preferences": ListOf(Record({"spread": TEXT})),
                "max_replicas_per_node": INT,
            }
        ),
    }
)

_WATCH_ACTIONS: Final = ("rebuild", "sync", "restart", "sync+restart", "sync+exec")


def _finish_watch(found: Map) -> None:
    if not found.get("target") and found["action"] not in {"rebuild", "restart"}:
        raise ValueError(f"target is required for action {found['action']}")


def _no_short_form(_value: Value, _context: Context) -> Value:
    raise TypeError


DEVELOP: Final = Record(
    {
        "watch": ListOf(
            Converted(
                Record(
                    {
                        "ignore": TEXT_OR_TEXTS,
                        "include": TEXT_OR_TEXTS,
                        "path": HOST_PATH,
                        "action": Text(*_WATCH_ACTIONS),
                        "target": TEXT,
                        "exec": HOOKS.item,
                        "initial_sync": BOOL,
                    },
                    required=("path", "action"),
                ),
                _no_short_form,
                finish=_finish_watch,
            )
        )
    }
)

ENDPOINT: Final = Record(
    {
        "aliases": TEXTS,
        "interface_name": TEXT,
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
        "link_local_ips": TEXTS,
        "mac_address": TEXT,
        "driver_opts": OPTIONS,
        "priority": NUMBER,
        "gw_priority": NUMBER,
    }
)

ENV_FILES: Final = ListOf(
    Converted(
        Record({"path": HOST_PATH, "format": TEXT, "required": BOOL}, required=("path",)),
        lambda value, _context: {"path": _string(value)},
    ),
    single=True,
)
_BLKIO_RATES: Final = ListOf(Record({"path": TEXT, "rate": SIZE}))

SERVICE: Final = Record(
    {
        "annotations": LABELS,
        "attach": BOOL,
        "blkio_config": Record(
            {
                "device_read_bps": _BLKIO_RATES,
                "device_read_iops": _BLKIO_RATES,
                "device_write_bps": _BLKIO_RATES,
                "device_write_iops": _BLKIO_RATES,
                "weight": INT,
                "weight_device": ListOf(Record({"path": TEXT, "weight": INT})),
            }
        ),
        "build": BUILD,
        "cap_add": TEXTS,
        "cap_drop": TEXTS,
        "cgroup": Text("host", "private"),
        "cgroup_parent": TEXT,
        "command": COMMAND,
        "configs": REFERENCES,
        "container_name": TEXT,
        "cpu_count": Number(0),
        "cpu_percent": Number(0, 100, whole=False),
        "cpu_period": NUMBER,
        "cpu_quota": NUMBER,
        "cpu_rt_period": LOOSE,
        "cpu_rt_runtime": LOOSE,
        "cpu_shares": NUMBER,
        "cpus": NUMBER,
        "cpuset": LOOSE,
        "credential_spec": Record({"config": TEXT, "file": TEXT, "registry": TEXT}),
        "depends_on": Depends(),
        "deploy": DEPLOY,
        "develop": DEVELOP,
        "device_cgroup_rules": TEXTS,
        "devices": ListOf(
            Converted(
                Record({"source": TEXT, "target": TEXT, "permissions": TEXT}, required=("source",)),
                lambda value, _context: short.device(_string(value)),
            )
        ),
        "dns": TEXT_OR_TEXTS,
        "dns_opt": TEXTS,
        "dns_search": TEXT_OR_TEXTS,
        "domainname": TEXT,
        "entrypoint": COMMAND,
        "env_file": ENV_FILES,
        "environment": PAIRS,
        "expose": ListOf(LOOSE, unique=True),
        "extends": Converted(
            Record({"service": TEXT, "file": TEXT}, required=("service",)),
            lambda value, _context: {"service": _string(value)},
        ),
        "external_links": TEXTS,
        "extra_hosts": EXTRA_HOSTS,
        "gpus": Gpus(),
        "group_add": ListOf(LOOSE, unique=True),
        "healthcheck": HEALTHCHECK,
        "hostname": TEXT,
        "image": TEXT,
        "init": BOOL,
        "ipc": TEXT,
        "isolation": TEXT,
        "label_file": ListOf(HOST_PATH, single=True),
        "labels": LABELS,
        "links": TEXTS,
        "logging": Record({"driver": TEXT, "options": OPTIONS}),
        "mac_address": TEXT,
        "mem_limit": SIZE,
        "mem_reservation": SIZE,
        "mem_swappiness": INT,
        "memswap_limit": SIZE,
        "models": Named(Record({"endpoint_var": TEXT, "model_var": TEXT})),
        "network_mode": TEXT,
        "networks": Named(ENDPOINT),
        "oom_kill_disable": BOOL,
        "oom_score_adj": Number(-1000, 1000),
        "pid": TEXT,
        "pids_limit": INT,
        "platform": TEXT,
        "ports": Expanding(_port_entries, Port()),
        "post_start": HOOKS,
        "pre_start": HOOKS,
        "pre_stop": HOOKS,
        "privileged": BOOL,
        "profiles": TEXTS,
        "provider": Record({"type": TEXT, "options": ANY}, required=("type",)),
        "pull_policy": Text(parse=short.pull_policy),
        "pull_refresh_after": TEXT,
        "read_only": BOOL,
        "restart": Text(parse=short.restart),
        "runtime": TEXT,
        "scale": Number(0),
        "secrets": REFERENCES,
        "security_opt": TEXTS,
        "shm_size": SIZE,
        "stdin_open": BOOL,
        "stop_grace_period": DURATION,
        "stop_signal": TEXT,
        "storage_opt": ANY,
        "sysctls": PAIRS,
        "tmpfs": TEXT_OR_TEXTS,
        "tty": BOOL,
        "ulimits": ULIMITS,
        "use_api_socket": BOOL,
        "user": LOOSE,
        "userns_mode": TEXT,
        "uts": TEXT,
        "volumes": ListOf(Mount()),
        "volumes_from": TEXTS,
        "working_dir": TEXT,
    },
)

NETWORK: Final = Record(
    {
        "attachable": BOOL,
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "enable_ipv4": BOOL,
        "enable_ipv6": BOOL,
        "external": External(),
        "internal": BOOL,
        "ipam": Record(
            {
                "driver": TEXT,
                "config": ListOf(
                    Record({"subnet": TEXT, "ip_range": TEXT, "gateway": TEXT, "aux_addresses": MapOf(TEXT)})
                ),
                "options": OPTIONS,
            }
        ),
        "labels": LABELS,
        "name": TEXT,
    }
)
VOLUME: Final = Record({"driver": TEXT, "driver_opts": OPTIONS, "external": External(), "labels": LABELS, "name": TEXT})
SECRET: Final = Record(
    {
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "environment": TEXT,
        "external": External(),
        "file": HOST_PATH,
        "labels": LABELS,
        "name": TEXT,
        "template_driver": TEXT,
    }
)
CONFIG: Final = Record(
    {
        "content": TEXT,
        "environment": TEXT,
        "external": External(),
        "file": HOST_PATH,
        "labels": LABELS,
        "name": TEXT,
        "template_driver": TEXT,
    }
)
INCLUDE: Final = ListOf(
    Converted(
        Record({"path": TEXT_OR_TEXTS, "env_file": TEXT_OR_TEXTS, "project_directory": TEXT}, required=("path",)),
        lambda value, _context: {"path": [_string(value)]},
    )
)

DOCUMENT: Final = Record(
    {
        "version": LOOSE,
        "name": TEXT,
        "include": INCLUDE,
        "services": MapOf(SERVICE, keys=NAMES),
        "models": MapOf(ANY, keys=NAMES),
        "networks": MapOf(NETWORK, keys=NAMES, null=True),
        "volumes": MapOf(VOLUME, keys=NAMES, null=True),
        "secrets": MapOf(SECRET, keys=NAMES),
        "configs": MapOf(CONFIG, keys=NAMES),
    }
)
