"""start, stop, restart, kill, pause, unpause, rm, pull: what is done to containers that exist."""

import sys
import time
from collections.abc import Iterable

from berth.compose import bodies, observe
from berth.compose.arguments import Parsed
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.model import Project, dependencies, levels, with_dependencies
from berth.compose.operations import Act, Operation
from berth.compose.reconcile import UpOptions, grace_seconds, plan_stop, plan_up
from berth.compose.seen import Container, Observed
from berth.compose.session import Session


def _members(session: Session, flags: Parsed) -> tuple[Project, list[Container]]:
    project = session.existing(flags.arguments)
    return project, session.containers(project, flags.arguments)


def _in_parallel(
    session: Session, project: Project, act: Act, containers: Iterable[Container], *, signal: str = ""
) -> None:
    operations = [
        Operation(f"{act.doing} {c.name}", act, c.name, "asked for", container=c, signal=signal) for c in containers
    ]
    session.run(operations, session.performer(project))


def stop(session: Session, flags: Parsed) -> int:
    """Stop containers, those that depend on others first."""
    project, found = _members(session, flags)
    timeout = flags.integer("timeout")
    operations = plan_stop(project, [c for c in found if c.alive], timeout)
    session.run(operations, session.performer(project))
    return 0


def start(session: Session, flags: Parsed) -> int:
    """Start existing containers in the order of their dependencies; nothing is created."""
    project = session.existing(flags.arguments)
    seen = Observed(observe.containers(session.client, project.name), {}, {}, {})
    chosen = (
        frozenset(with_dependencies(project.services, flags.arguments))
        if flags.arguments
        else frozenset(project.services)
    )
    present = {c.service for c in seen.containers if not c.oneoff}
    for name in flags.arguments:
        if name not in present:
            raise ComposeFault(f'service "{name}" has no container to start')
    # As many as there are, whatever the files say.
    services = {}
    for name, service in project.services.items():
        count = sum(1 for c in seen.containers if c.service == name and not c.oneoff)
        if count:
            services[name] = {**service, "scale": count, "networks": None, "volumes": None}
    project = project._replace(services=services)
    options = UpOptions(services=chosen & present, no_recreate=True, wait=flags.has("wait"))
    outcome = plan_up(project, seen, options)
    performer = session.performer(project, seen.containers)
    limit = flags.integer("wait-timeout")
    performer.deadline = time.monotonic() + limit if limit else None
    session.run(outcome.operations, performer)
    return 0


def restart(session: Session, flags: Parsed) -> int:
    """Restart containers in the order of their dependencies; changes in the files are not applied."""
    project, found = _members(session, flags)
    chosen = set(flags.arguments) or set(project.services)
    if not flags.has("no-deps"):
        everything = session.containers(project, ())
        for name in levels(project.services):
            if any(entry.get("restart") and other in chosen for other, entry in dependencies(project.services[name])):
                chosen.add(name)
        found = [c for c in everything if c.service in chosen]
    timeout = flags.integer("timeout")
    keys: dict[str, list[str]] = {}
    operations = []
    for name in levels(project.services):
        needs = tuple(key for other, _ in dependencies(project.services[name]) for key in keys.get(other, ()))
        for container in found:
            if container.service == name:
                grace = grace_seconds(project.services[name], timeout)
                operation = Operation(
                    f"restart {container.name}",
                    Act.RESTART,
                    container.name,
                    "restart",
                    needs,
                    container=container,
                    timeout=grace,
                )
                operations.append(operation)
                keys.setdefault(name, []).append(operation.key)
    session.run(operations, session.performer(project))
    return 0


def kill(session: Session, flags: Parsed) -> int:
    """Send a signal to running containers."""
    project, found = _members(session, flags)
    if flags.has("remove-orphans"):
        known = {*project.services, *project.disabled}
        found += [c for c in observe.containers(session.client, project.name) if c.service not in known]
    alive = [c for c in found if c.alive]
    if not alive:
        print("no container to kill", file=sys.stderr)
    _in_parallel(session, project, Act.KILL, alive, signal=flags.text("signal") or "SIGKILL")
    return 0


def pause(session: Session, flags: Parsed) -> int:
    """Freeze running containers."""
    project, found = _members(session, flags)
    _in_parallel(session, project, Act.PAUSE, [c for c in found if c.state == "running"])
    return 0


def unpause(session: Session, flags: Parsed) -> int:
    """Let frozen containers go on."""
    project, found = _members(session, flags)
    _in_parallel(session, project, Act.UNPAUSE, [c for c in found if c.state == "paused"])
    return 0


def rm(session: Session, flags: Parsed) -> int:
    """Remove stopped containers; asks first unless told not to."""
    if flags.has("stop"):
        stop(session, Parsed({}, flags.arguments))
    project = session.existing(flags.arguments)
    found = [c for c in session.containers(project, flags.arguments, oneoffs=True) if not c.alive]
    if not found:
        print("No stopped containers", file=sys.stderr)
        return 0
    if not flags.has("force"):
        print(f"Going to remove {', '.join(c.name for c in found)}", file=sys.stderr)
        if not sys.stdin.isatty():
            raise ComposeFault("rm needs --force where nobody can be asked")
        print("Are you sure? [yN] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            return 0
    operations = [
        Operation(f"remove {c.name}", Act.REMOVE, c.name, "rm", container=c, thorough=flags.has("volumes"))
        for c in found
    ]
    session.run(operations, session.performer(project))
    return 0


def pull(session: Session, flags: Parsed) -> int:
    """Pull the images of the services."""
    policy = flags.text("policy")
    if policy not in {"", "always", "missing"}:
        raise BadUsage(f'invalid --policy "{policy}": always or missing')
    project = session.project(flags.arguments)
    chosen = set(flags.arguments) or set(project.services)
    if flags.has("include-deps"):
        chosen = with_dependencies(project.services, chosen)
    operations: dict[str, Operation] = {}
    for name in sorted(chosen):
        service = project.services[name]
        reference = bodies.image_of(project, name)
        if "provider" in service or ("build" in service and ("image" not in service or flags.has("ignore-buildable"))):
            continue
        if policy == "missing" and observe.image(session.client, reference) is not None:
            continue
        operations[reference] = Operation(
            f"image {reference}", Act.PULL, reference, "pull", resource=service.get("platform", ""),
            optional=flags.has("ignore-pull-failures"),
        )  # fmt: skip
    session.run(operations.values(), session.performer(project, quiet_pull=flags.has("quiet")))
    return 0
