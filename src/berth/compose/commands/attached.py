"""The attached half of `up`: start, show what the containers print, and stop them when asked or when one ends."""

import contextlib
import queue
import sys
import threading
from typing import NamedTuple

from berth.client.errors import ApiError, ClientError
from berth.client.http import Client
from berth.compose import labels, observe
from berth.compose.arguments import Parsed
from berth.compose.commands.streams import make_printer
from berth.compose.commands.up import choose_services, look
from berth.compose.errors import ComposeFault
from berth.compose.execute import Performer, execute
from berth.compose.logs import Follower, Printer, short_name
from berth.compose.model import Project
from berth.compose.operations import Act
from berth.compose.progress import Live, Plain, Quiet
from berth.compose.reconcile import Outcome, UpOptions, plan_stop, plan_up
from berth.compose.seen import Container, Observed
from berth.compose.session import Session


class _Died(NamedTuple):
    container: str
    code: int
    at_ns: int


class _Began(NamedTuple):
    container: str


class _Started(NamedTuple):
    """The start phase is over; `error` tells how."""

    error: Exception | None
    containers: frozenset[str]


class _Attached:
    """Follows the logs and the lives of a project's containers."""

    def __init__(self, session: Session, project: Project, printer: Printer, shown: dict[str, Container]) -> None:
        self.session, self.project, self.printer, self.shown = session, project, printer, shown
        self.news: queue.SimpleQueue[_Died | _Began | _Started] = queue.SimpleQueue()
        self.followers: dict[str, Follower] = {}
        self.since: dict[str, str] = {}
        self.alive: set[str] = set()
        #: Containers seen to start, and those we started but have not yet seen: while there are some we may not leave.
        self.seen_starting: set[str] = set()
        self.pending: set[str] = set()

    def listen(self, client: Client, ready: threading.Event) -> None:
        """Turn the engine's events into news; runs in a thread of its own."""
        query = {
            "filters": {
                "type": ["container"],
                "event": ["start", "die"],
                "label": [f"{labels.PROJECT}={self.project.name}"],
            }
        }
        try:
            stream = client.stream("GET", "/events", query)
            ready.set()
            for event in stream.records():
                actor = event.get("Actor") or {}
                identity = actor.get("ID") or event.get("id", "")
                if event.get("Action", event.get("status")) == "die":
                    code = (actor.get("Attributes") or {}).get("exitCode", "0")
                    self.news.put(_Died(identity, int(code), int(event.get("timeNano") or 0)))
                else:
                    self.news.put(_Began(identity))
        except (ClientError, OSError, ValueError):
            ready.set()

    def follow(self, container: Container, *, tail: str = "") -> None:
        """Print what a container says from now on."""
        old = self.followers.get(container.id)
        if old is not None:
            old.join(timeout=2)
        name = short_name(container, self.project.name)
        follower = Follower(
            self.session.client.clone(),
            container.id,
            name,
            self.printer,
            tail=tail,
            since=self.since.get(container.id, ""),
        )
        self.followers[container.id] = follower
        follower.start()

    def drain(self) -> None:
        """Let the followers print what is left."""
        for follower in self.followers.values():
            follower.join(timeout=5)
            follower.stop()


def run_attached(session: Session, project: Project, flags: Parsed, created: Outcome) -> int:
    """Start what was created and stay with it."""
    printer = make_printer(session, flags)
    only, never = set(flags.all("attach")), set(flags.all("no-attach"))
    chosen, named = choose_services(project, flags)
    watched = set(created.containers)
    if named and not flags.has("attach-dependencies"):
        watched &= named
    watched = {
        name for name in watched
        if (name in only if only else name not in never and project.services[name].get("attach", True))
    }  # fmt: skip
    seen = look(session, project, chosen)
    shown = {c.id: c for c in seen.containers if c.service in watched and not c.oneoff}
    for container in shown.values():
        printer.register(container.id, short_name(container, project.name))
    if isinstance(session.progress, Live):
        # A picture would be redrawn over what the containers print at their end.
        session.progress = Plain(session.progress.out)
    attached = _Attached(session, project, printer, shown)
    performer = session.performer(project, seen.containers)
    starting = threading.Thread(
        target=_start, args=(session, attached, performer, chosen, seen), name="start", daemon=True
    )
    try:
        _begin(session, project, attached)
        starting.start()
        return _stay(session, attached, flags, expected={c.id for c in seen.containers})
    except KeyboardInterrupt:
        print("Gracefully Stopping... press Ctrl+C again to force", file=sys.stderr)
        performer.give_up()  # or a container might start behind the stop
        with contextlib.suppress(KeyboardInterrupt):
            if starting.ident is not None:
                starting.join()
        stop_all(session, project, flags)
        attached.drain()
        return 130


def _begin(session: Session, project: Project, attached: _Attached) -> None:
    """Listen to what happens, and to what runs already."""
    ready = threading.Event()
    threading.Thread(target=attached.listen, args=(session.client.clone(), ready), name="events", daemon=True).start()
    ready.wait()
    if attached.shown:
        print(
            f"Attaching to {', '.join(short_name(c, project.name) for c in attached.shown.values())}",
            file=sys.stderr,
            flush=True,
        )
    for container in attached.shown.values():
        if container.alive:
            attached.alive.add(container.id)
            attached.follow(container, tail="0")
        elif container.state == "exited":
            attached.since[container.id] = _finished(session.client, container.id)


def _start(session: Session, attached: _Attached, performer: Performer, chosen: frozenset[str], seen: Observed) -> None:
    """Start what was created, and tell when that is done."""
    options = UpOptions(services=chosen, no_recreate=True, replace_networks=False)
    outcome = plan_up(attached.project, seen, options)
    error: Exception | None = None
    try:
        execute(outcome.operations, performer, Quiet(), session.limit)
    except (ComposeFault, ClientError) as failed:
        error = failed
    started = [operation.target for operation in outcome.operations if operation.act is Act.START]
    attached.news.put(_Started(error, frozenset(performer.ids[name] for name in started if name in performer.ids)))


def _finished(client: Client, container: str) -> str:
    """Return when a container ended, as the log call wants it; what it said before is old."""
    from berth.compose.times import engine_time

    stamp = ((client.get(f"/containers/{container}/json") or {}).get("State") or {}).get("FinishedAt", "")
    return engine_time(stamp) if stamp and not stamp.startswith("0001") else ""


def _stay(session: Session, attached: _Attached, flags: Parsed, *, expected: set[str]) -> int:
    """Handle the news until all containers ended, or one did and that is the end of all."""
    exit_from = flags.text("exit-code-from")
    any_exit = flags.has("abort-on-container-exit") or bool(exit_from)
    starting = True
    code: int | None = None
    while starting or attached.alive or attached.pending:
        news = attached.news.get()
        if isinstance(news, _Started):
            starting = False
            if news.error is not None:
                stop_all(session, attached.project, flags)
                attached.drain()
                raise news.error
            attached.pending = set(news.containers & attached.shown.keys()) - attached.seen_starting
            continue
        container = attached.shown.get(news.container)
        if isinstance(news, _Began):
            attached.seen_starting.add(news.container)
            attached.pending.discard(news.container)
            if container is not None:
                attached.alive.add(news.container)
                attached.follow(container)
            continue
        if container is None:
            if not any_exit or news.container not in expected:
                continue
        else:
            attached.followers[news.container].join(timeout=2) if news.container in attached.followers else None
            back = _comes_back(session.client, news.container)
            shown = short_name(container, attached.project.name)
            attached.printer.status(f"{shown} exited with code {news.code}{' (restarting)' if back else ''}")
            attached.since[news.container] = f"{news.at_ns // 10**9}.{news.at_ns % 10**9:09d}"
            if back:
                continue
            attached.alive.discard(news.container)
        if any_exit or (flags.has("abort-on-container-failure") and news.code):
            print("Aborting on container exit...", file=sys.stderr)
            code = news.code
            break
    if code is None:
        attached.drain()
        return 0
    project = attached.project
    if exit_from:
        stop_all(session, project, flags)
        found = [c for c in observe.containers(session.client, project.name) if c.service == exit_from and not c.oneoff]
        code = int(session.client.get(f"/containers/{found[0].id}/json")["State"]["ExitCode"]) if found else code
    else:
        stop_all(session, project, flags)
    attached.drain()
    return code


def _comes_back(client: Client, container: str) -> bool:
    """Whether a restart policy starts a container again."""
    try:
        state = client.get(f"/containers/{container}/json")["State"]
    except ApiError:
        return False
    return bool(state.get("Restarting") or state.get("Running"))


def stop_all(session: Session, project: Project, flags: Parsed) -> None:
    """Stop all containers, dependents first; a second interrupt kills them."""
    timeout = flags.integer("timeout")
    alive = [c for c in observe.containers(session.client, project.name) if c.alive and not c.oneoff]
    operations = plan_stop(project, alive, timeout)
    try:
        session.run(operations, session.performer(project))
    except KeyboardInterrupt:
        killer = session.client.clone()
        for container in alive:
            try:
                killer.post(f"/containers/{container.id}/kill")
            except ApiError:
                continue  # it ended meanwhile
