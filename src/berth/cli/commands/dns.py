"""`berth dns …`: why does this name lead there, who asks what, how do the name servers outside do?"""

from __future__ import annotations

import json
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.cli.tabular import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from berth.cli.session import Session

_JSON_OR_TEXT = "Print as 'json' instead of text"


def _wants_json(parsed: Parsed) -> bool:
    form = parsed.text("format")
    if form not in ("", "json"):
        raise CommandFailed(f"unknown format {form!r}: it is json, or nothing for a text")
    return form == "json"


def _table(rows: list[list[str]]) -> str:
    return align("\n".join("\t".join(row) for row in rows))


def reason(said: dict[str, Any]) -> str:
    """Say in words who or what gave an answer."""
    entry, network, upstream = said["Entry"], said["Network"], said["Upstream"]
    holders = ", ".join(said["Holders"])
    texts = {
        "name": f"container {holders} on network {network}",
        "alias": f"alias {entry} of {holders} on network {network}",
        "link": f"link to {entry} ({holders}) on network {network}",
        "wildcard": f"wildcard alias {entry} of {holders} on network {network}",
        "address": f"address of {entry}",
        "kept in": "not sent on: the container has an explicit ndots option, and the name no dot",
        "cache": f"kept answer of {upstream}",
        "stale": f"old answer of {upstream}: no name server answers now",
        "upstream": f"name server {upstream}",
        "refused": "refused: too many queries under way",
        "failed": "no name server outside answered",
        "unfit": "not a query that can be answered",
    }
    return texts.get(said["By"]) or str(said["By"])


def query_text(answer: dict[str, Any]) -> str:
    """Print what a query came to."""
    lines = [f"{one['Name']}.\t{one['TTL']}\t{one['Type']}\t{one['Data']}".expandtabs(8) for one in answer["Answers"]]
    if not answer["Found"]:
        lines.append(f"{answer['From']} finds no {answer['Type']} record of {answer['Name']}")
    lines.append("")
    rows = [["ASKED FOR", "OF", "CAME BACK", "TIME", "BECAUSE OF"]]
    for one in answer["Tries"]:
        back = one["Code"] or one["Problem"]
        if one["Code"] == "NOERROR" and not one["Answers"]:
            back = f"no {answer['Type']} record"
        said = one["Said"]
        rows.append(
            [one["Name"], one["Server"], back, f"{one['TookMs']:.1f} ms", reason(said) if said else "its own word"]
        )
    lines.append(_table(rows))
    if answer["Hint"]:
        lines.append(f"\n{answer['Hint']}")
    return "\n".join(line.rstrip() for line in lines)


def _query(session: Session, parsed: Parsed) -> int:
    as_json = _wants_json(parsed)
    if not parsed.text("from"):
        raise CommandFailed("--from is required: which container asks")
    query = {"name": parsed.args[0], "from": parsed.text("from"), "type": parsed.text("type") or None}
    if parsed.flag("no-search"):
        query["search"] = "0"
    answer = session.client.get("/berth/dns/query", query)
    session.line(json.dumps(answer, indent=4, ensure_ascii=False) if as_json else query_text(answer))
    return 0 if answer["Found"] else 1


def log_line(line: dict[str, Any]) -> str:
    """Print one query of the log."""
    took = f"{line['TookMs']:.1f} ms" if line["TookMs"] else "at once"
    answers = ", ".join(line["Answers"]) or line["Code"]
    missed = f"({line['Missed']} more before)\n" if line["Missed"] else ""
    return (
        f"{missed}{line['Time'][:23]} {line['From']} {line['Type'] or '?'} {line['Name'] or '?'} → {answers} "
        f"[{reason(line)}, {took}]"
    )


def _log(session: Session, parsed: Parsed) -> None:
    as_json = _wants_json(parsed)
    tail = parsed.text("tail")
    if tail not in ("", "all") and not tail.isdecimal():
        raise CommandFailed(f"invalid --tail {tail!r}: a number, or all")
    query: dict[str, Any] = {"follow": parsed.flag("follow"), "tail": tail if tail.isdecimal() else None}
    if parsed.list("from"):
        query["from"] = parsed.list("from")
    for line in session.client.stream("GET", "/berth/dns/log", query).records():
        sys.stdout.write((json.dumps(line, ensure_ascii=False) if as_json else log_line(line)) + "\n")
        sys.stdout.flush()


_NUMBERS = ("Queries", "Names", "Cached", "Stale", "Forwarded", "Failed", "Refused")


def _below(value: int) -> str:
    return "-" if not value else f"<{value} ms" if value > 0 else ">5000 ms"


def stats_text(stats: dict[str, Any], *, containers: bool) -> str:
    """Print numbers by network (or container) and the servers outside."""
    rows = [["CONTAINER" if containers else "NETWORK", *(name.upper() for name in _NUMBERS), "HALF", "99 %"]]
    rows += [
        [one["Name"], *(str(one[name]) for name in _NUMBERS), _below(one["HalfBelowMs"]), _below(one["MostBelowMs"])]
        for one in stats["Containers" if containers else "Networks"]
    ]
    servers = [["NAME SERVER", "STATE", "ASKED", "ANSWERED", "FAILED", "SILENT", "USUALLY", "LAST PROBLEM"]]
    servers += [
        [
            one["Address"] + (" (of the host)" if one["FromHost"] else ""),
            one["State"],
            *(str(one[name]) for name in ("Asked", "Answered", "Failed", "Silent")),
            f"{one['UsualMs']:.1f} ms" if one["UsualMs"] else "-",
            one["Problem"],
        ]
        for one in stats["Upstreams"]
    ]
    text = _table(rows) + "\n\n" + _table(servers)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _stats(session: Session, parsed: Parsed) -> None:
    as_json = _wants_json(parsed)
    stats = session.client.get("/berth/dns/stats")
    if as_json:
        session.line(json.dumps(stats, indent=4, ensure_ascii=False))
    else:
        session.line(stats_text(stats, containers=parsed.flag("containers")))


QUERY = Command(
    "[OPTIONS] NAME",
    _query,
    (
        Flag("from", "", "string", "Container that asks (required)"),
        Flag("type", "t", "string", "Type of record: A, AAAA, PTR, SRV, MX, TXT, … (an address alone: PTR)"),
        Flag("no-search", "", "bool", "Ask for the name as it is, without the container's search domains"),
        Flag("format", "", "string", _JSON_OR_TEXT),
    ),
    least=1,
    most=1,
    long=(
        "Ask a running container's own name servers from inside it, as its resolver library does, and explain the "
        "answer: which table, alias, link, wildcard, search domain, kept answer or server outside it came from, and "
        "how long it took. Exit code 1 says that nothing was found."
    ),
)
LOG = Command(
    "[OPTIONS]",
    _log,
    (
        Flag("follow", "f", "bool", "Go on with new queries as they come"),
        Flag("from", "", "list", "Only queries of this container (repeatable)"),
        Flag("tail", "n", "string", "Number of queries to begin with, or all", default="all"),
        Flag("format", "", "string", _JSON_OR_TEXT),
    ),
    most=0,
    long="Show who asked for which name, what was answered, by whom, and how long it took: each container's last 128.",
)
STATS = Command(
    "[OPTIONS]",
    _stats,
    (
        Flag("containers", "", "bool", "By container instead of by network"),
        Flag("format", "", "string", _JSON_OR_TEXT),
    ),
    most=0,
    long=(
        "Show how many names were asked for and who answered, by network, and how the name servers outside do. "
        "A container on several networks counts in each."
    ),
)
