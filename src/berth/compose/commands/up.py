"""up, create, scale, down: bring the project into being and take it away."""

import os
import sys
import time
from collections.abc import Iterable

from berth.compose import bodies, observe
from berth.compose.arguments import Parsed
from berth.compose.discovery import is_true
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.model import Project, Section, with_dependencies
from berth.compose.operations import Act, Operation
from berth.compose.reconcile import DownOptions, Outcome, UpOptions, differs, plan_down, plan_up
from berth.compose.seen import Observed
from berth.compose.session import Session


def scaled(project: Project, texts: Iterable[str]) -> Project:
    """Apply `--scale SERVICE=N`."""
    services = dict(project.services)
    for text in texts:
        name, sign, count = text.partition("=")
        if not sign or not count.isdecimal():
            raise BadUsage(f'invalid --scale option "{text}". Should be SERVICE=NUM')
        service: Section = dict(project.service(name))
        service["scale"] = int(count)
        if "container_name" in service and int(count) > 1:
            raise ComposeFault(f"{name}: container_name is unique, so there cannot be {count} of it")
        services[name] = service
    return project._replace(services=services)


def look(session: Session, project: Project, chosen: Iterable[str]) -> Observed:
    """Look at what the chosen services need."""
    chosen = list(chosen)
    services = [project.services[name] for name in chosen]
    seen = observe.observe(
        session.client,
        project.name,
        want_networks=dict.fromkeys(
            project.networks[key]["name"] for service in services for key in service.get("networks") or ()
        ),
        want_volumes=dict.fromkeys(
            project.volumes[m["source"]]["name"]
            for service in services
            for m in service.get("volumes") or ()
            if m["type"] == "volume" and m.get("source")
        ),
        images=[bodies.image_of(project, name) for name in chosen if "provider" not in project.services[name]],
    )
    # Only an inspection tells who is on a network; it is needed where the network is to be made anew.
    for resource in project.networks.values():
        found = seen.networks.get(resource["name"])
        if found is not None and not resource.get("external") and differs(found, resource):
            seen.networks[resource["name"]] = observe.network(session.client, str(found["Id"])) or found
    return seen


def bring_images(session: Session, project: Project, seen: Observed, chosen: Iterable[str], flags: Parsed) -> Observed:
    """Pull what is missing or what a policy wants fresh; return the look with these images in it."""
    asked = flags.text("pull")
    if asked not in {"", "always", "missing", "never", "policy", "build"}:
        raise BadUsage(f"invalid --pull option {asked!r}: one of always, missing, never, policy")
    pulls: dict[str, Operation] = {}
    for name in chosen:
        service = project.services[name]
        if "provider" in service:
            continue
        reference = bodies.image_of(project, name)
        present = seen.images.get(reference) is not None
        policy = asked if asked not in {"", "policy"} else str(service.get("pull_policy") or "missing")
        buildable = "build" in service
        if buildable and not present and (policy in {"build", "never"} or "image" not in service):
            raise ComposeFault(
                f"service {name}: image {reference} does not exist and building is not available yet."
                f" Build it with another tool, tag it {reference} and run this again"
            )
        if policy == "never":
            if not present:
                raise ComposeFault(f"No such image: {reference} (service {name} must not pull)")
            continue
        if present and policy in {"missing", "build"}:
            continue
        if buildable and present and policy != "always":
            continue
        pulls[reference] = Operation(
            f"image {reference}", Act.PULL, reference, f"policy {policy}" if present else "it is not there",
            resource=service.get("platform", ""),
        )  # fmt: skip
    if not pulls:
        return seen
    session.run(pulls.values(), session.performer(project, quiet_pull=flags.has("quiet-pull")))
    if session.dry_run:
        return seen
    return seen._replace(
        images={**seen.images, **{reference: observe.image(session.client, reference) for reference in pulls}}
    )


def choose_services(project: Project, flags: Parsed) -> tuple[frozenset[str], frozenset[str]]:
    """Return the services to bring up and, among them, those that were named."""
    named = frozenset(flags.arguments)
    if not named:
        return frozenset(project.services), named
    return (named if flags.has("no-deps") else frozenset(with_dependencies(project.services, named))), named


def converge(session: Session, project: Project, flags: Parsed, *, start: bool, wait: bool = False) -> Outcome:
    """Look, pull, plan and carry out."""
    if flags.has("build"):
        raise ComposeFault(
            "--build: building images is not available yet. Build with another tool and run up without --build"
        )
    if flags.has("force-recreate") and flags.has("no-recreate"):
        raise BadUsage("--force-recreate and --no-recreate are incompatible")
    if flags.has("renew-anon-volumes") and flags.has("no-recreate"):
        raise BadUsage("--no-recreate and --renew-anon-volumes are incompatible")
    chosen, named = choose_services(project, flags)
    if not chosen:
        raise ComposeFault("no service selected")
    bodies.check_files(project, sorted(chosen))
    seen = look(session, project, chosen)
    seen = bring_images(session, project, seen, sorted(chosen), flags)
    options = UpOptions(
        services=chosen,
        named=named,
        force_recreate=flags.has("force-recreate"),
        no_recreate=flags.has("no-recreate"),
        recreate_deps=flags.has("always-recreate-deps"),
        renew_anonymous=flags.has("renew-anon-volumes"),
        remove_orphans=flags.has("remove-orphans") or is_true(project.variables.get("COMPOSE_REMOVE_ORPHANS")),
        start=start,
        timeout=flags.integer("timeout"),
        wait=wait,
    )
    outcome = plan_up(project, seen, options)
    for warning in outcome.warnings:
        if not (warning.startswith("Found orphan") and is_true(project.variables.get("COMPOSE_IGNORE_ORPHANS"))):
            session.warn(warning)
    for container in outcome.unchanged:
        session.progress.done("Container", container.name, "Running" if container.alive else "Created")
    if outcome.operations:
        performer = session.performer(project, seen.containers, quiet_pull=flags.has("quiet-pull"))
        limit = flags.integer("wait-timeout")
        if wait and limit:
            performer.deadline = time.monotonic() + limit
        session.run(outcome.operations, performer)
    else:
        with session.progress:
            pass  # what runs already is worth a look
    return outcome


def up(session: Session, flags: Parsed) -> int:
    """Create and start containers; attached unless told otherwise."""
    for unavailable in ("watch",):
        if flags.has(unavailable):
            raise ComposeFault(f"--{unavailable} is not available yet")
    project = scaled(session.project(flags.arguments), flags.all("scale"))
    wait = flags.has("wait")
    attached = not (flags.has("detach") or wait or flags.has("no-start") or session.dry_run)
    exit_from = flags.text("exit-code-from")
    if flags.has("detach") and (
        exit_from or flags.has("abort-on-container-exit") or flags.has("abort-on-container-failure")
    ):
        raise BadUsage(
            "--detach and --abort-on-container-exit, --abort-on-container-failure or --exit-code-from are incompatible"
        )
    if exit_from and exit_from not in project.services:
        raise ComposeFault(f"no such service: {exit_from}")
    if not attached:
        converge(session, project, flags, start=not flags.has("no-start"), wait=wait)
        return 0
    from berth.compose.commands.attached import run_attached

    outcome = converge(session, project, flags, start=False)
    return run_attached(session, project, flags, outcome)


def create(session: Session, flags: Parsed) -> int:
    """Create containers without starting them."""
    project = scaled(session.project(flags.arguments), flags.all("scale"))
    converge(session, project, flags, start=False)
    return 0


def scale(session: Session, flags: Parsed) -> int:
    """Set how many containers services have."""
    if not flags.arguments:
        raise BadUsage("scale needs at least one SERVICE=N")
    names = [text.partition("=")[0] for text in flags.arguments]
    project = scaled(session.project(names), flags.arguments)
    converge(session, project, Parsed({**flags.values, "no-recreate": ["true"]}, names), start=True)
    return 0


def down(session: Session, flags: Parsed) -> int:
    """Stop and remove containers and networks, with flags also volumes and images."""
    images = flags.text("rmi")
    if images not in {"", "all", "local"}:
        raise BadUsage(f'invalid value for --rmi: "{images}", must be "all" or "local"')
    project = session.existing()
    for name in flags.arguments:
        if name not in project.services and name not in project.disabled:
            raise ComposeFault(f"no such service: {name}")
    client = session.client
    references = [bodies.image_of(project, name) for name in project.services] if images else []
    seen = Observed(
        containers=observe.containers(client, project.name),
        networks=observe.networks(client, project.name),
        volumes=observe.volumes(client, project.name) if flags.has("volumes") else {},
        images={reference: observe.image(client, reference) for reference in references},
    )
    options = DownOptions(
        services=frozenset(flags.arguments),
        volumes=flags.has("volumes"),
        remove_orphans=flags.has("remove-orphans") or is_true(os.environ.get("COMPOSE_REMOVE_ORPHANS")),
        images=images,
        timeout=flags.integer("timeout"),
    )
    outcome = plan_down(project, seen, options, from_files=session.from_files)
    for warning in outcome.warnings:
        if not (warning.startswith("Found orphan") and is_true(os.environ.get("COMPOSE_IGNORE_ORPHANS"))):
            session.warn(warning)
    if not outcome.operations:
        print(f"Nothing to take down for project {project.name}.", file=sys.stderr)
        return 0
    session.run(outcome.operations, session.performer(project, seen.containers))
    return 0
