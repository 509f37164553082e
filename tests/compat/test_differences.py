"""The same operations on Berth and on the original; what their listings and inspections say, field by field.

Every difference found must be a row of ``docs/differences.md`` with its reason, and every row must be found.
"""

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.clients import needs_client, needs_original_20
from tests.support.engines import REPO, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: The newest version the original speaks; both are asked in it.
_VERSION = "/v1.41"
_DOCUMENT = REPO / "docs/differences.md"
_ABSENT = "(absent)"

_RUN = (
    "run", "-d", "--name", "diffbox", "--hostname", "box", "--network", "diffnet", "--network-alias", "other",
    "--ip", "10.176.0.9", "-v", "diffvol:/v", "-v", "/tmp:/h:ro", "-v", "/anonymous", "--tmpfs", "/t:size=1m",
    "--mount", "type=volume,source=diffvol2,target=/m,readonly,volume-label=k=v", "-p", "127.0.0.1:18080:80",
    "-p", "18081:81/udp", "-e", "A=b", "-l", "x=y", "--restart", "on-failure:3", "--memory", "64m", "--cpus", "0.5",
    "--cap-drop", "NET_RAW", "--stop-signal", "SIGTERM", "--stop-timeout", "1", "-w", "/tmp", "-u", "0:0",
    "--add-host", "extra:10.0.0.1", "--dns", "10.0.0.2", "--ulimit", "nofile=512:512", "busybox", "sleep", "600",
)  # fmt: skip

#: What is asked of both, by the name the table gives it.
_ASKED = {
    "network inspect": "/networks/diffnet",
    "network inspect bridge": "/networks/bridge",
    "network inspect host": "/networks/host",
    "network inspect none": "/networks/none",
    "network ls": '/networks?filters={"name":["diffnet"]}',
    "volume inspect": "/volumes/diffvol",
    "volume inspect (from --mount)": "/volumes/diffvol2",
    "volume inspect (with options)": "/volumes/difftmp",
    "volume ls": '/volumes?filters={"name":["diffvol"]}',
    "container inspect": "/containers/diffbox/json",
    "container inspect (created)": "/containers/diffidle/json",
    "container ls": '/containers/json?all=1&filters={"name":["diff"]}',
    "image inspect": "/images/busybox/json",
}


@dataclass(frozen=True)
class Row:
    """One justified difference."""

    where: str
    fields: str

    def covers(self, where: str, field: str) -> bool:
        return fnmatch.fnmatchcase(where, self.where) and fnmatch.fnmatchcase(field, self.fields)


def _rows() -> list[Row]:
    rows = []
    for line in _DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) == 5 and cells[1].startswith("`"):
            # Square brackets are part of a path here, not a pattern.
            pattern = cells[1].strip("`").replace("[", "[[]")
            rows.append(Row(cells[0], pattern))
            assert all(cells), f"a row without a reason: {line}"
    return rows


def _operate(engine: Engine) -> None:
    docker = engine.docker
    docker("network", "create", "--subnet", "10.176.0.0/24", "--ip-range", "10.176.0.128/25", "--gateway",
           "10.176.0.254", "--label", "a=b", "-o", "com.docker.network.driver.mtu=1400", "diffnet")  # fmt: skip
    docker("volume", "create", "--label", "a=b", "diffvol")
    docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m", "difftmp")
    docker(*_RUN)
    docker("create", "--name", "diffidle", "-v", "difftmp:/d", "busybox")


def _undo(engine: Engine) -> None:
    engine.docker("rm", "-f", "-v", "diffbox", "diffidle", check=False)
    engine.docker("network", "rm", "diffnet", check=False)
    engine.docker("volume", "rm", "diffvol", "diffvol2", "difftmp", check=False)


@pytest.fixture(scope="module")
def answers(berth_engine: Engine, dockerd_engine: Engine) -> Iterator[Mapping[str, Mapping[str, Any]]]:
    needs_original_20()
    engines = {"berth": berth_engine, "dockerd": dockerd_engine}
    try:
        for engine in engines.values():
            _operate(engine)
        yield {
            kind: {where: engine.api("GET", _VERSION + _quoted(path)).body for where, path in _ASKED.items()}
            for kind, engine in engines.items()
        }
    finally:
        for engine in engines.values():
            _undo(engine)


def _quoted(path: str) -> str:
    return path.replace('"', "%22").replace("{", "%7B").replace("}", "%7D")


_HIDDEN = (
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<id>"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "<mac>"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:]+(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"Up (?:Less than a second|About a minute|\d+ (?:second|minute)s?)"), "Up <age>"),
    (re.compile(r"/\S*/(?=volumes/|containers/|overlay2/|images/|netns/)"), "<root>/"),
)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        if value == "0001-01-01T00:00:00Z":
            return value
        for pattern, instead in _HIDDEN:
            value = pattern.sub(instead, value)
    elif isinstance(value, int) and not isinstance(value, bool) and value > 10_000_000 and value != 64 << 20:
        return "<number>"
    return value


#: Numbers that are different each time.
_PASSING = ("State.Pid",)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{_plain(key)}" if path else _plain(key))
    elif isinstance(value, list) and value:
        # The client fills Binds from a map, in any order.
        for index, inner in enumerate(sorted(value) if path.endswith("Binds") else _sorted(value)):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, "<number>" if path in _PASSING and value else _plain(value)


def _sorted(values: list[Any]) -> list[Any]:
    """Lists whose order means nothing are compared in one order."""
    if all(isinstance(value, dict) for value in values):
        return sorted(values, key=lambda value: json.dumps(value.get("Destination") or value.get("Name") or
                                                           value.get("Names") or value, sort_keys=True))  # fmt: skip
    return values


def differences(ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ, with both values."""
    left, right = dict(_flat(ours)), dict(_flat(theirs))
    return {
        field: (left.get(field, _ABSENT), right.get(field, _ABSENT))
        for field in sorted({*left, *right})
        if left.get(field, _ABSENT) != right.get(field, _ABSENT)
    }


@pytest.mark.parametrize("where", _ASKED)
def test_every_difference_is_justified(where: str, answers: Mapping[str, Mapping[str, Any]]) -> None:
    if where.startswith("container inspect"):
        needs_client(26, "it sends lists that say nothing as null")
    rows = _rows()
    found = differences(answers["berth"][where], answers["dockerd"][where])
    unknown = [
        f"{field}: Berth {ours!r}, Docker {theirs!r}"
        for field, (ours, theirs) in found.items()
        if not any(row.covers(where, field) for row in rows)
    ]
    assert not unknown, f"{where}:\n  " + "\n  ".join(unknown)


def test_no_row_is_out_of_date(answers: Mapping[str, Mapping[str, Any]]) -> None:
    found = [
        (where, field) for where in _ASKED for field in differences(answers["berth"][where], answers["dockerd"][where])
    ]
    stale = [row for row in _rows() if not any(row.covers(where, field) for where, field in found)]
    assert not stale, "rows without a difference: " + ", ".join(f"{row.where} {row.fields}" for row in stale)


@pytest.mark.parametrize(
    "command",
    [
        ("network", "ls", "--filter", "name=diffnet"),
        ("network", "ls", "--format", "{{.Name}} {{.Driver}} {{.Scope}} {{.Labels}}"),
        ("volume", "ls", "--filter", "name=diff"),
        ("volume", "ls", "-q", "--filter", "dangling=false", "--filter", "name=diff"),
        ("ps", "-a", "--filter", "name=diff", "--format",
         "{{.Names}}\t{{.Image}}\t{{.Command}}\t{{.Ports}}\t{{.Networks}}\t{{.Labels}}\t{{.State}}"),
        ("ps", "--filter", "name=diffbox", "--format", "table {{.Names}}\t{{.Ports}}\t{{.Status}}"),
        ("port", "diffbox"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_tables_are_the_same(
    command: tuple[str, ...], answers: Mapping[str, Any], berth_engine: Engine, dockerd_engine: Engine
) -> None:
    """The docker client before both engines, and our own before ours, print the same."""
    if command[0] in ("ps", "port"):
        needs_client(27, "it writes IPv6 addresses without brackets")

    def seen(text: str) -> list[str]:
        return sorted(str(_plain(line)).rstrip() for line in text.splitlines())

    original = seen(dockerd_engine.docker(*command).out)
    assert seen(berth_engine.docker(*command).out) == original
    assert seen(berth_engine.berth(*command).out) == original
