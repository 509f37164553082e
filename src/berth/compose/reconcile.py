"""Decide what must be done: wanted model + what was seen → operations with causes. Pure.

Nothing here talks to the engine or reads the clock. The same input gives the same plan, and a project that is as
wanted an empty one.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final, NamedTuple

from berth.compose import bodies, labels
from berth.compose.bodies import Wanted
from berth.compose.errors import ComposeFault
from berth.compose.hashing import resource_hash, service_hash
from berth.compose.model import Project, Section, dependencies, dependents, levels, replicas
from berth.compose.operations import Act, Operation
from berth.compose.seen import Container, Json, Observed
from berth.compose.short import duration_ns

#: Names the engine gives to volumes nobody named.
ANONYMOUS: Final = re.compile(r"[0-9a-f]{64}\Z")


class UpOptions(NamedTuple):
    """What the command line asks of `up` and `create`."""

    services: frozenset[str]
    force_recreate: bool = False
    no_recreate: bool = False
    recreate_deps: bool = False
    renew_anonymous: bool = False
    remove_orphans: bool = False
    start: bool = True
    timeout: int | None = None
    #: Services named by the user; others are there because these need them.
    named: frozenset[str] = frozenset()
    #: Wait until everything runs and is healthy.
    wait: bool = False
    #: Make networks anew whose description changed.
    replace_networks: bool = True


class Outcome(NamedTuple):
    """A plan, what to tell the user, and the containers that are already as wanted."""

    operations: tuple[Operation, ...]
    warnings: tuple[str, ...]
    unchanged: tuple[Container, ...]
    #: Names of all containers the project has once the plan is carried out, by service.
    containers: dict[str, list[str]]


def grace_seconds(service: Section | None, timeout: int | None) -> int | None:
    """Return how long a stop may take: the flag, else the service's own period, else unsaid."""
    if timeout is not None or service is None or "stop_grace_period" not in service:
        return timeout
    return -(-duration_ns(service["stop_grace_period"]) // 10**9)


def plan_stop(project: Project, containers: Iterable[Container], timeout: int | None) -> list[Operation]:
    """Stop these containers, those whose services depend on others first."""
    found = list(containers)
    keys: dict[str, list[str]] = {}
    operations = []
    for name in reversed(levels(project.services)):
        needs = tuple(key for other in dependents(project.services, name) for key in keys.get(other, ()))
        for container in found:
            if container.service == name:
                operation = Operation(
                    f"stop {container.name}",
                    Act.STOP,
                    container.name,
                    "stop",
                    needs,
                    container=container,
                    timeout=grace_seconds(project.services[name], timeout),
                )
                operations.append(operation)
                keys.setdefault(name, []).append(operation.key)
    return operations


def anonymous_volumes(container: Container) -> dict[str, str]:
    """Return the anonymous volumes of a container: target → name."""
    return {
        mount["Destination"]: mount["Name"]
        for mount in container.mounts
        if mount.get("Type") == "volume" and ANONYMOUS.match(mount.get("Name") or "")
    }


def differs(found: Json, resource: Section) -> bool:
    """Whether a network or volume of ours was made from another description; without a digest nobody knows."""
    digest = (found.get("Labels") or {}).get(labels.CONFIG_HASH)
    return digest is not None and digest != resource_hash(resource)


class _Planner:
    """Collects the operations of one `up`."""

    def __init__(self, project: Project, seen: Observed, options: UpOptions) -> None:
        self.project, self.seen, self.options = project, seen, options
        self.operations: list[Operation] = []
        self.warnings: list[str] = []
        self.unchanged: list[Container] = []
        self.names: dict[str, list[str]] = {}
        #: Containers kept, by service; for those who share a namespace with them.
        self.kept: dict[str, list[Container]] = {}
        #: Operations that give a service's containers their ids, and those that start them.
        self.creates: dict[str, list[str]] = {}
        self.starts: dict[str, list[str]] = {}
        self.stops: dict[str, list[str]] = {}
        self.recreated: set[str] = set()
        #: Services whose containers are made anew or stopped and started: those who want it are restarted with them.
        self.disturbed: set[str] = set()
        self.waits: dict[tuple[str, str], list[str]] = {}
        self.by_service: dict[str, list[Container]] = {}
        for container in seen.containers:
            if not container.oneoff:
                self.by_service.setdefault(container.service, []).append(container)

    def add(self, operation: Operation) -> str:
        self.operations.append(operation)
        return operation.key

    # -- networks and volumes ------------------------------------------------------------------------

    def networks(self, wanted: Iterable[str]) -> None:
        for key in wanted:
            resource = self.project.networks[key]
            name = resource["name"]
            found = self.seen.networks.get(name)
            if resource.get("external"):
                if found is None and name not in {"bridge", "host", "none"}:
                    raise ComposeFault(f"network {name} declared as external, but could not be found")
            elif found is None:
                self.add(Operation(f"network {key}", Act.CREATE_NETWORK, name, "it does not exist", resource=key))
            elif (found.get("Labels") or {}).get(labels.PROJECT) != self.project.name:
                self.warnings.append(
                    f'a network with name {name} exists but was not created for project "{self.project.name}".'
                    f" Set `external: true` to use an existing network"
                )
            elif self.options.replace_networks and differs(found, resource):
                self.replace_network(key, name, found)

    def replace_network(self, key: str, name: str, found: Json) -> None:
        """Make a changed network anew under its containers; they keep running and get their endpoints back."""
        cause = "its description changed"
        attached = [container for container in self.seen.containers if name in container.networks]
        ours = {
            container.id
            for container in attached
            if container.service in self.project.services and not container.oneoff
        }
        there = found.get("Containers") or {}
        strangers = [str(entry.get("Name")) for identity, entry in there.items() if identity not in ours]
        if strangers:
            self.warnings.append(
                f"the description of network {name} changed, but it stays as it is, because others use it:"
                f" {', '.join(sorted(strangers))}. Disconnect them and run up again"
            )
            return
        attached = [container for container in attached if container.id in ours]
        apart = [
            self.add(
                Operation(
                    f"disconnect {c.name} {key}", Act.DISCONNECT, c.name, cause, container=c, resource=name, silent=True
                )
            )
            for c in attached
        ]
        removed = self.add(
            Operation(
                f"remove network {key}",
                Act.REMOVE_NETWORK,
                name,
                cause,
                tuple(apart),
                resource=str(found.get("Id", name)),
            )
        )
        self.add(Operation(f"network {key}", Act.CREATE_NETWORK, name, cause, (removed,), resource=key))

    def reconnect(self, service: str, container: Container) -> list[str]:
        """Plug a kept container into the networks that are made anew."""
        planned = {operation.key for operation in self.operations}
        keys = []
        for key in self.project.services[service].get("networks") or {}:
            if f"disconnect {container.name} {key}" in planned:
                want = Wanted(service, container.name, container.number)
                keys.append(
                    self.add(
                        Operation(
                            f"connect {container.name} {key}", Act.CONNECT, container.name, "its network was made anew",
                            (f"network {key}",), container=container, want=want, resource=key, silent=True,
                        )
                    )
                )  # fmt: skip
        return keys

    def volumes(self, wanted: Iterable[str]) -> None:
        for key in wanted:
            resource = self.project.volumes[key]
            name = resource["name"]
            found = self.seen.volumes.get(name)
            if resource.get("external"):
                if found is None:
                    raise ComposeFault(f'external volume "{name}" not found')
            elif found is None:
                self.add(Operation(f"volume {key}", Act.CREATE_VOLUME, name, "it does not exist", resource=key))
            elif (found.get("Labels") or {}).get(labels.PROJECT) != self.project.name:
                owner = (found.get("Labels") or {}).get(labels.PROJECT)
                whose = f'project "{owner}"' if owner else "Compose"
                self.warnings.append(
                    f'volume "{name}" already exists but was not created '
                    + (f'for project "{self.project.name}" (but for {whose})' if owner else "by Docker Compose")
                    + ". Use `external: true` to use an existing volume"
                )
            elif differs(found, resource):
                self.warnings.append(
                    f'volume "{name}" exists but its description changed. Its data is kept and the change ignored;'
                    f" to apply it, back the volume up, remove it and run up again"
                )

    # -- containers ----------------------------------------------------------------------------------

    def service(self, name: str) -> None:
        service = self.project.services[name]
        count = replicas(service)
        present = self.unique(name)
        causes = {container.id: self.cause(name, service, container) for container in present}
        # Obsolete containers go first when there are too many, then the highest numbers.
        by_worth = sorted(present, key=lambda c: (causes[c.id] is not None, c.number))
        for container in by_worth[count:]:
            self.remove(container, f"only {count} of {name} are wanted")
        keep = sorted(by_worth[:count], key=lambda c: c.number)
        self.names[name] = []
        for container in keep:
            cause = causes[container.id]
            final = bodies.container_name(self.project, name, container.number)
            self.names[name].append(final)
            if cause is None:
                self.keep(name, service, container, final)
            else:
                self.recreate(name, service, container, final, cause)
        last = max((container.number for container in keep), default=0)
        for number in range(last + 1, last + 1 + count - len(keep)):
            final = bodies.container_name(self.project, name, number)
            self.names[name].append(final)
            create = self.create(name, service, Wanted(name, final, number), "it does not exist")
            self.start(name, service, final, None, [create])

    def unique(self, name: str) -> list[Container]:
        """Return the containers of a service, rid of what an interrupted recreation left behind."""
        by_number: dict[int, Container] = {}
        for container in self.by_service.get(name, ()):
            other = by_number.get(container.number)
            if other is None:
                by_number[container.number] = container
                continue
            final = bodies.container_name(self.project, name, container.number)
            loser, winner = (other, container) if container.name == final else (container, other)
            by_number[container.number] = winner
            self.remove(loser, "an interrupted recreation left it behind")
        return list(by_number.values())

    def cause(self, name: str, service: Section, container: Container) -> str | None:
        """Say why a container must be made anew; None if it need not."""
        options = self.options
        if container.state in {"dead", "removing"}:
            return f"it is {container.state}"
        if options.no_recreate:
            return None
        primary = not options.named or name in options.named
        if options.force_recreate and (primary or options.recreate_deps):
            return "--force-recreate"
        if options.recreate_deps and not primary:
            return "--always-recreate-deps"
        if options.renew_anonymous and primary:
            return "--renew-anon-volumes"
        if container.labels.get(labels.CONFIG_HASH) != service_hash(self.project, service):
            return "its configuration changed"
        image = self.seen.images.get(bodies.image_of(self.project, name))
        if image is not None and container.labels.get(labels.IMAGE, image["Id"]) != image["Id"]:
            return "its image changed"
        return (
            self.network_cause(service, container)
            or self.mount_cause(service, container)
            or self.sharing_cause(service, container)
        )

    def network_cause(self, service: Section, container: Container) -> str | None:
        for key in service.get("networks") or {}:
            name = self.project.networks[key]["name"]
            endpoint = container.networks.get(name)
            if endpoint is None:
                return f"it is not on network {name}"
            found = self.seen.networks.get(name)
            if found is None:
                return f"its network {name} was removed"
            if endpoint.get("NetworkID") and found.get("Id") and endpoint["NetworkID"] != found["Id"]:
                return f"its network {name} was replaced"
        return None

    def mount_cause(self, service: Section, container: Container) -> str | None:
        mounted = {mount.get("Destination"): mount.get("Name") for mount in container.mounts}
        for mount in service.get("volumes") or ():
            if mount["type"] == "volume" and mount.get("source"):
                name = self.project.volumes[mount["source"]]["name"]
                if mounted.get(mount["target"]) != name:
                    return f"volume {name} is not mounted"
        return None

    def sharing_cause(self, service: Section, container: Container) -> str | None:
        """A container that borrows a namespace or volumes must follow when the lender is made anew."""
        for other in _lenders(service):
            if other in self.recreated or (self.creates.get(other) and not self.kept.get(other)):
                return f"it shares with {other}, which is made anew"
        mode = str(service.get("network_mode", ""))
        if mode.startswith("service:"):
            kept = self.kept.get(mode.removeprefix("service:")) or []
            joined = str((container.summary.get("HostConfig") or {}).get("NetworkMode", "")).removeprefix("container:")
            if kept and joined and joined != kept[0].id:
                return f"it shares with {mode.removeprefix('service:')}, which was made anew"
        return None

    def keep(self, name: str, service: Section, container: Container, final: str) -> None:
        needs = self.reconnect(name, container)
        self.kept.setdefault(name, []).append(container)
        if container.name != final:
            needs.append(
                self.add(
                    Operation(
                        f"rename {final}",
                        Act.RENAME,
                        final,
                        "its name is left from a recreation",
                        container=container,
                        silent=True,
                    )
                )
            )
        if container.state == "paused" and self.options.start:
            self.warnings.append(f"container {container.name} is paused; `unpause` lets it go on")
        if container.alive and not self.must_restart(service):
            self.unchanged.append(container)
            return
        if container.alive and self.options.start:
            self.disturbed.add(name)
            needs.append(self.stop(name, service, container, "a service it depends on is made anew"))
        if self.options.start:
            self.start(name, service, final, container, needs)

    def must_restart(self, service: Section) -> bool:
        return any(entry.get("restart") and other in self.disturbed for other, entry in dependencies(service))

    def recreate(self, name: str, service: Section, container: Container, final: str, cause: str) -> None:
        self.recreated.add(name)
        self.disturbed.add(name)
        renew = self.options.renew_anonymous
        want = Wanted(name, final, container.number, inherited={} if renew else anonymous_volumes(container))
        create = self.create(name, service, want, cause, replaces=container)
        needs = [create]
        if container.alive:
            needs = [self.stop(name, service, container, cause, (create,))]
        remove = self.add(
            Operation(
                f"remove {container.name}",
                Act.REMOVE,
                container.name,
                cause,
                tuple(needs),
                container=container,
                thorough=renew,
                silent=True,
            )
        )
        rename = self.add(Operation(f"rename {final}", Act.RENAME, final, cause, (remove,), silent=True))
        if self.options.start:
            self.start(name, service, final, None, [rename])

    def stop(self, name: str, service: Section, container: Container, cause: str, needs: tuple[str, ...] = ()) -> str:
        # Those who depend on it and want to be restarted with it stop first.
        key = self.add(
            Operation(
                f"stop {container.name}", Act.STOP, container.name, cause, needs, container=container,
                timeout=grace_seconds(service, self.options.timeout), silent=True,
            )
        )  # fmt: skip
        self.stops.setdefault(name, []).append(key)
        return key

    def create(
        self, name: str, service: Section, want: Wanted, cause: str, *, replaces: Container | None = None
    ) -> str:
        image = bodies.image_of(self.project, name)
        found = self.seen.images.get(image)
        needs = [f"image {image}"]
        needs += [f"network {key}" for key in service.get("networks") or {}]
        needs += [
            f"volume {m['source']}" for m in service.get("volumes") or () if m["type"] == "volume" and m.get("source")
        ]
        for other in _lenders(service):
            needs += self.creates.get(other, ())
        want = want._replace(image_id=(found or {}).get("Id", ""))
        act = Act.CREATE if replaces is None else Act.RECREATE
        key = self.add(
            Operation(
                f"create {want.name}", act, want.name, cause, tuple(needs), container=replaces, want=want, service=name
            )
        )
        self.creates.setdefault(name, []).append(key)
        return key

    def start(self, name: str, service: Section, final: str, container: Container | None, needs: list[str]) -> None:
        if not self.options.start:
            return
        for other, entry in dependencies(service):
            needs = needs + self.condition(other, entry)
        for other in _lenders(service):
            needs = needs + self.starts.get(other, [])
        key = self.add(
            Operation(
                f"start {final}",
                Act.START,
                final,
                "it does not run",
                tuple(dict.fromkeys(needs)),
                container=container,
                service=name,
            )
        )
        self.starts.setdefault(name, []).append(key)

    def condition(self, other: str, entry: Section) -> list[str]:
        """Return what must be done before a dependent of `other` may start."""
        if other not in self.project.services or other not in self.names:
            return []
        started = self.starts.get(other, [])
        condition = entry["condition"]
        if condition == "service_started":
            return started
        optional = entry.get("required") is False
        place = (other, f"{condition} {optional}")
        if place not in self.waits:
            act = Act.AWAIT_HEALTHY if condition == "service_healthy" else Act.AWAIT_EXIT
            existing = {container.name: container for container in self.kept.get(other, ())}
            self.waits[place] = [
                self.add(
                    Operation(
                        f"await {condition} {final} {optional}", act, final, f"others wait for {condition}",
                        tuple(started), container=existing.get(final), service=other, optional=optional,
                    )
                )
                for final in self.names[other]
            ]  # fmt: skip
        return self.waits[place]

    def remove(self, container: Container, cause: str) -> None:
        needs: tuple[str, ...] = ()
        if container.alive:
            service = self.project.services.get(container.service)
            stop = Operation(
                f"stop {container.name}", Act.STOP, container.name, cause, container=container,
                timeout=grace_seconds(service, self.options.timeout),
            )  # fmt: skip
            needs = (self.add(stop),)
        self.add(
            Operation(
                f"remove {container.name}", Act.REMOVE, container.name, cause, needs, container=container, thorough=True
            )
        )

    def orphans(self) -> None:
        known = {*self.project.services, *self.project.disabled}
        found = [
            c for c in self.seen.containers if (c.oneoff and not c.alive) or (not c.oneoff and c.service not in known)
        ]
        if not found:
            return
        if self.options.remove_orphans:
            for container in found:
                self.remove(container, "no service of the project has it")
            return
        strays = [container.name for container in found if not container.oneoff]
        if strays:
            self.warnings.append(
                f"Found orphan containers ([{' '.join(strays)}]) for this project. If you removed or renamed this"
                " service in your compose file, you can run this command with the --remove-orphans flag to clean it up."
            )

    def final_waits(self) -> None:
        """`--wait`: everything must run, be healthy if it can tell, or have done its one task."""
        for name in sorted(self.names):
            existing = {container.name: container for container in self.kept.get(name, ())}
            for final in self.names[name]:
                self.add(
                    Operation(
                        f"await running {final}", Act.AWAIT_RUNNING, final, "--wait", tuple(self.starts.get(name, ())),
                        container=existing.get(final), service=name, thorough=self.may_exit(name),
                    )
                )  # fmt: skip

    def may_exit(self, name: str) -> bool:
        service = self.project.services[name]
        awaited = any(
            entry.get("condition") == "service_completed_successfully"
            for other in self.project.services.values()
            for dependency, entry in dependencies(other)
            if dependency == name
        )
        return awaited or str(service.get("restart") or "no") == "no"


def _lenders(service: Section) -> list[str]:
    """Return the services whose container this one refers to by id."""
    found = [
        str(service[key]).removeprefix("service:")
        for key in ("network_mode", "ipc", "pid")
        if str(service.get(key, "")).startswith("service:")
    ]
    found += [text.partition(":")[0] for text in service.get("volumes_from") or () if not text.startswith("container:")]
    return list(dict.fromkeys(found))


def plan_up(project: Project, seen: Observed, options: UpOptions) -> Outcome:
    """Plan what makes the selected services run as the model says."""
    planner = _Planner(project, seen, options)
    chosen = [
        name
        for name in levels(project.services)
        if name in options.services and "provider" not in project.services[name]
    ]
    planner.networks(dict.fromkeys(key for name in chosen for key in project.services[name].get("networks") or ()))
    planner.volumes(
        dict.fromkeys(
            mount["source"]
            for name in chosen
            for mount in project.services[name].get("volumes") or ()
            if mount["type"] == "volume" and mount.get("source")
        )
    )
    for name in chosen:
        planner.service(name)
    for container in seen.containers:
        if container.service in project.services and container.service not in options.services and not container.oneoff:
            planner.reconnect(container.service, container)
    planner.orphans()
    if options.wait:
        planner.final_waits()
    return Outcome(
        _stop_dependents_first(planner, project), tuple(planner.warnings), tuple(planner.unchanged), planner.names
    )


def _stop_dependents_first(planner: _Planner, project: Project) -> tuple[Operation, ...]:
    """Let a stop wait for the stops of those that depend on the service with `restart: true`."""
    more: dict[str, tuple[str, ...]] = {}
    for name, service in project.services.items():
        for other, entry in dependencies(service):
            if entry.get("restart"):
                for key in planner.stops.get(other, ()):
                    more[key] = (*more.get(key, ()), *planner.stops.get(name, ()))
    # A dependent that is itself made anew is created from the new container's id: its stop may not wait for that,
    # only ours for its stop.
    result = []
    for operation in planner.operations:
        extra = more.get(operation.key, ())
        safe = tuple(key for key in extra if not _reaches(planner.operations, key, operation.key))
        result.append(operation._replace(needs=operation.needs + safe) if safe else operation)
    return tuple(result)


def _reaches(operations: Collection[Operation], start: str, goal: str) -> bool:
    """Whether `start` needs `goal`, directly or not."""
    by_key = {operation.key: operation for operation in operations}
    todo, seen = [start], {start}
    while todo:
        operation = by_key.get(todo.pop())
        for need in operation.needs if operation else ():
            if need == goal:
                return True
            if need not in seen:
                seen.add(need)
                todo.append(need)
    return False


class DownOptions(NamedTuple):
    """What the command line asks of `down`."""

    services: frozenset[str] = frozenset()
    volumes: bool = False
    remove_orphans: bool = False
    #: Images to remove: `all`, `local` or none.
    images: str = ""
    timeout: int | None = None


def plan_down(project: Project, seen: Observed, options: DownOptions, *, from_files: bool) -> Outcome:
    """Plan the end of a project: dependents first, then what they depended on, then networks, images and volumes."""
    operations: list[Operation] = []
    warnings: list[str] = []
    known = {*project.services, *project.disabled}
    gone: dict[str, list[str]] = {}
    order = list(reversed(levels(project.services)))
    strays = sorted({c.service for c in seen.containers} - set(order))
    stray_names: list[str] = []
    removals: list[str] = []
    for name in [*strays, *order]:
        if options.services and name not in options.services:
            continue
        needs = tuple(
            key
            for other, service in project.services.items()
            if name in (service.get("depends_on") or {})
            for key in gone.get(other, ())
        )
        for container in seen.containers:
            if container.service != name:
                continue
            if from_files and name not in known and not options.remove_orphans:
                stray_names.append(container.name)
                continue
            removals += (made := _plan_removal(project, container, options, needs, operations))
            gone.setdefault(name, []).extend(made)
    if stray_names and not options.services:
        warnings.append(
            f"Found orphan containers ([{' '.join(stray_names)}]) for this project. If you removed or renamed this"
            " service in your compose file, you can run this command with the --remove-orphans flag to clean it up."
        )
    if not options.services:
        _plan_resources_down(project, seen, options, tuple(removals), operations)
    if options.images:
        _plan_images_down(project, seen, options, tuple(removals), operations)
    return Outcome(tuple(operations), tuple(warnings), (), {})


def _plan_removal(
    project: Project, container: Container, options: DownOptions, needs: tuple[str, ...], operations: list[Operation]
) -> list[str]:
    service = project.services.get(container.service) or project.disabled.get(container.service)
    if container.alive:
        stop = Operation(
            f"stop {container.name}", Act.STOP, container.name, "down", needs, container=container,
            timeout=grace_seconds(service, options.timeout),
        )  # fmt: skip
        operations.append(stop)
        needs = (stop.key,)
    remove = Operation(
        f"remove {container.name}",
        Act.REMOVE,
        container.name,
        "down",
        needs,
        container=container,
        thorough=options.volumes,
    )
    operations.append(remove)
    return [remove.key]


def _plan_resources_down(
    project: Project, seen: Observed, options: DownOptions, needs: tuple[str, ...], operations: list[Operation]
) -> None:
    external = {network["name"] for network in project.networks.values() if network.get("external")}
    for name, network in sorted(seen.networks.items()):
        if (network.get("Labels") or {}).get(labels.PROJECT) == project.name and name not in external:
            operations.append(
                Operation(
                    f"remove network {name}",
                    Act.REMOVE_NETWORK,
                    name,
                    "down",
                    needs,
                    resource=network["Id"],
                    optional=True,
                )
            )
    if options.volumes:
        outside = {volume["name"] for volume in project.volumes.values() if volume.get("external")}
        for name, volume in sorted(seen.volumes.items()):
            if (volume.get("Labels") or {}).get(labels.PROJECT) == project.name and name not in outside:
                operations.append(
                    Operation(f"remove volume {name}", Act.REMOVE_VOLUME, name, "down -v", needs, optional=True)
                )


def _plan_images_down(
    project: Project, seen: Observed, options: DownOptions, needs: tuple[str, ...], operations: list[Operation]
) -> None:
    wanted: Mapping[str, bool] = {
        bodies.image_of(project, name): options.images == "all" or not service.get("image")
        for name, service in project.services.items()
    }
    for reference, remove in sorted(wanted.items()):
        if remove and seen.images.get(reference) is not None:
            operations.append(
                Operation(
                    f"remove image {reference}",
                    Act.REMOVE_IMAGE,
                    reference,
                    f"--rmi {options.images}",
                    needs,
                    optional=True,
                )
            )
