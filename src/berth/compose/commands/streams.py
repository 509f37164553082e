"""logs, events, wait: what goes on, as it comes."""

import heapq
import json
import os
import sys
from collections.abc import Iterator

from berth.compose import labels
from berth.compose.arguments import Parsed
from berth.compose.commands.show import _chosen
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.logs import Follower, Line, Printer, lines, open_log, short_name
from berth.compose.seen import Container
from berth.compose.session import Session
from berth.compose.times import engine_time


def make_printer(session: Session, flags: Parsed, *, times: bool | None = None) -> Printer:
    """Make the printer the flags ask for."""
    ansi = session.options.text("ansi")
    colour = (
        not flags.has("no-color")
        and not os.environ.get("NO_COLOR")
        and (ansi == "always" or (ansi != "never" and sys.stdout.isatty()))
    )
    return Printer(
        prefix=not flags.has("no-log-prefix"), colour=colour, times=flags.has("timestamps") if times is None else times
    )


def logs(session: Session, flags: Parsed) -> int:
    """Print what the containers printed, in the order of time; with --follow as it comes."""
    project, found = _chosen(session, flags, oneoffs=True)
    index = flags.integer("index")
    found = [c for c in found if index is None or c.number == index]
    tail = flags.text("tail")
    if tail and tail != "all" and not tail.lstrip("-").isdecimal():
        raise BadUsage(f'invalid argument "{tail}" for "-n, --tail" flag: a number or "all"')
    since, until = engine_time(flags.text("since")), engine_time(flags.text("until"))
    printer = make_printer(session, flags)
    for container in found:
        printer.register(container.id, short_name(container, project))
    if flags.has("follow"):
        followers = [
            Follower(session.client.clone(), c.id, short_name(c, project), printer, tail=tail, since=since, until=until)
            for c in found
        ]
        for follower in followers:
            follower.start()
        for follower in followers:
            follower.join()
        return 0

    def timed(container: Container) -> Iterator[tuple[str, int, Container, Line]]:
        response, raw = open_log(
            session.client.clone(), container.id, follow=False, tail=tail, since=since, until=until, times=True
        )
        for number, line in enumerate(lines(response, raw=raw, times=True)):
            yield line.time, number, container, line

    for _, _, container, line in heapq.merge(*(timed(c) for c in found), key=lambda item: item[0]):
        printer.line(container.id, short_name(container, project), line)
    return 0


def events(session: Session, flags: Parsed) -> int:
    """Print the events of the project's containers until interrupted, or up to --until."""
    name, _ = _chosen(session, Parsed(flags.values, []))
    query = {
        "filters": {"type": ["container"], "label": [f"{labels.PROJECT}={name}"]},
        "since": engine_time(flags.text("since")) or None,
        "until": engine_time(flags.text("until")) or None,
    }
    wanted = set(flags.arguments)
    for event in session.client.stream("GET", "/events", query).records():
        attributes = dict((event.get("Actor") or {}).get("Attributes") or {})
        service = attributes.get(labels.SERVICE, "")
        if wanted and service not in wanted:
            continue
        identity = (event.get("Actor") or {}).get("ID") or event.get("id", "")
        shown = {key: value for key, value in sorted(attributes.items()) if not key.startswith("com.docker.compose.")}
        stamp = _stamp(int(event.get("timeNano") or 0))
        action = event.get("Action") or event.get("status", "")
        if flags.has("json"):
            record = {
                "action": action,
                "attributes": shown,
                "id": identity,
                "service": service,
                "time": stamp,
                "type": "container",
            }
            print(json.dumps(record, separators=(",", ":")), flush=True)
        else:
            listed = ", ".join(f"{key}={value}" for key, value in shown.items())
            print(f"{stamp} container {action} {identity} ({listed})", flush=True)
    return 0


def _stamp(nanoseconds: int) -> str:
    from berth.base.clock import rfc3339

    return rfc3339(nanoseconds)


def wait(session: Session, flags: Parsed) -> int:
    """Wait until the first container of the services stops; its code is ours."""
    if not flags.arguments:
        raise BadUsage("wait needs at least one SERVICE")
    project = session.existing(flags.arguments)
    found = [c for c in session.containers(project, flags.arguments) if c.alive]
    if not found:
        raise ComposeFault(f'no containers for project "{project.name}" are running')
    import queue
    import threading

    ended: queue.SimpleQueue[tuple[Container, int]] = queue.SimpleQueue()

    def watch(container: Container) -> None:
        answer = session.client.clone().post(f"/containers/{container.id}/wait")
        ended.put((container, int(answer["StatusCode"])))

    for container in found:
        threading.Thread(target=watch, args=(container,), daemon=True).start()
    codes = {}
    for _ in found:
        container, code = ended.get()
        codes[container.name] = code
        print(f'container "{container.name}" exited with status code {code}')
        if flags.has("down-project"):
            break
    if flags.has("down-project"):
        from berth.compose.commands.up import down

        down(session, Parsed({}, []))
    return next(iter(codes.values()), 0)
