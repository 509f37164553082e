"""`berth stats`."""

from __future__ import annotations

import os
import sys
import threading
import time

from berth.cli.command import Command
from berth.cli.flags import Flag, Parsed
from berth.cli.formatting import FORMAT_LIST, print_rows
from berth.cli.human import bytes_size, size
from berth.client.errors import ApiError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from berth.cli.formatting import Columns
    from berth.cli.session import Session
    from berth.client.http import Client


def figures(sample: dict[str, Any], name: str) -> dict[str, Any]:
    """Work out what people want to know of one sample; it holds the sample before it as well."""
    cpu, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    spent = cpu.get("cpu_usage", {}).get("total_usage", 0) - before.get("cpu_usage", {}).get("total_usage", 0)
    whole = (cpu.get("system_cpu_usage") or 0) - (before.get("system_cpu_usage") or 0)
    cores = cpu.get("online_cpus") or len(cpu.get("cpu_usage", {}).get("percpu_usage") or ()) or 1
    memory = sample.get("memory_stats") or {}
    details = memory.get("stats") or {}
    used = memory.get("usage") or 0
    # Page cache that can go at any time is not counted; cgroup v1 and v2 call it differently.
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    used = used - cache if cache < used else used
    limit = memory.get("limit") or 0
    networks = (sample.get("networks") or {}).values()
    blocks = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ()
    read = sum(it["value"] for it in blocks if it["op"].lower() == "read")
    written = sum(it["value"] for it in blocks if it["op"].lower() == "write")
    return {
        "Container": name,
        "ID": sample.get("id", ""),
        "Name": str(sample.get("name", "")).removeprefix("/"),
        "CPUPerc": f"{spent / whole * cores * 100 if whole > 0 and spent > 0 else 0:.2f}%",
        "MemUsage": f"{bytes_size(used)} / {bytes_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{size(sum(it['rx_bytes'] for it in networks))} / {size(sum(it['tx_bytes'] for it in networks))}",
        "BlockIO": f"{size(read)} / {size(written)}",
        "PIDs": str((sample.get("pids_stats") or {}).get("current") or 0),
    }


def _getter(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row[key]


def _columns(*, full: bool) -> Columns:
    headings = {
        "Container": "CONTAINER",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    }
    columns: Columns = {key: (text, _getter(key)) for key, text in headings.items()}
    columns["ID"] = ("CONTAINER ID", lambda it: it["ID"] if full else it["ID"][:12])
    return columns


def _sample(client: Client, name: str, found: dict[str, dict[str, Any] | ApiError]) -> None:
    try:
        found[name] = client.get(f"/containers/{part(name)}/stats", {"stream": False})
    except ApiError as error:
        found[name] = error


def _round(session: Session, names: list[str]) -> tuple[list[dict[str, Any]], list[ApiError]]:
    """Take one sample of each; at the same time, because a sample takes the engine a second or more."""
    found: dict[str, dict[str, Any] | ApiError] = {}
    threads = [threading.Thread(target=_sample, args=(session.client.clone(), name, found)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = [(name, found[name]) for name in names if name in found]
    rows = [figures(sample, name) for name, sample in samples if isinstance(sample, dict)]
    return rows, [sample for _, sample in samples if isinstance(sample, ApiError)]


def _stats(session: Session, parsed: Parsed) -> int:
    once, terminal = parsed.flag("no-stream"), os.isatty(1)
    while True:
        names = parsed.args
        if not names:
            summaries = session.client.get("/containers/json", {"all": parsed.flag("all") or None})
            names = [summary["Id"][:12] for summary in summaries]
        rows, errors = _round(session, names)
        if errors and parsed.args:
            raise errors[0]
        if terminal and not once:
            sys.stdout.write("\x1b[2J\x1b[H")
        print_rows(
            rows,
            _columns(full=parsed.flag("no-trunc")),
            parsed.text("format"),
            default="{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}",
            kind="*container.statsContext",
        )
        sys.stdout.flush()
        if once:
            return 0
        time.sleep(0.5)


STATS = Command(
    "[OPTIONS] [CONTAINER...]",
    _stats,
    (
        Flag("all", "a", "bool", "Show all containers (default shows just running)"),
        Flag("no-stream", "", "bool", "Disable streaming stats and only pull the first result"),
        Flag("no-trunc", "", "bool", "Do not truncate output"),
        Flag("format", "", "string", FORMAT_LIST),
    ),
    most=None,
)
