"""A project after loading: everything resolved, in canonical form. Pure data and the questions asked of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from berth.compose.errors import ComposeFault

#: A service, network, volume, secret or config in canonical form, as `config` prints it.
Section = dict[str, Any]


class Project(NamedTuple):
    """The model of a project; `services` holds the active ones, `disabled` those no profile asked for."""

    name: str
    directory: str
    files: tuple[str, ...]
    services: dict[str, Section]
    disabled: dict[str, Section]
    networks: dict[str, Section]
    volumes: dict[str, Section]
    secrets: dict[str, Section]
    configs: dict[str, Section]
    extensions: Section
    variables: Mapping[str, str]
    env_files: tuple[str, ...] = ()

    def service(self, name: str) -> Section:
        """Return an active service."""
        found = self.services.get(name)
        if found is None:
            raise ComposeFault(f"no such service: {name}")
        return found


def replicas(service: Section) -> int:
    """How many containers a service shall have."""
    if "scale" in service:
        return int(service["scale"])
    deploy = service.get("deploy") or {}
    return int(deploy.get("replicas", 1))


def dependencies(service: Section) -> Iterator[tuple[str, Section]]:
    """The services this one depends on, each with its condition."""
    yield from (service.get("depends_on") or {}).items()


def levels(services: Mapping[str, Section]) -> list[str]:
    """Order services so that each comes after those it depends on; equal ones by name. Takes linear time."""
    state: dict[str, int] = {}
    order: list[str] = []
    for root in sorted(services):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(sorted(name for name, _ in dependencies(services[root]) if name in services)))]
        while stack:
            name, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                state[name] = 2
                order.append(name)
                stack.pop()
            elif child not in state:
                state[child] = 1
                stack.append((child, iter(sorted(d for d, _ in dependencies(services[child]) if d in services))))
    return order


def find_cycle(services: Mapping[str, Section]) -> list[str] | None:
    """Return a chain of services that leads back to its start, if there is one."""
    state: dict[str, int] = {}
    for root in sorted(services):
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(sorted(name for name, _ in dependencies(services[root]) if name in services)))]
        while stack:
            name, rest = stack[-1]
            child = next(rest, None)
            if child is None:
                state[name] = 2
                stack.pop()
            elif state.get(child) == 1:
                chain = [entry[0] for entry in stack]
                return [*chain[chain.index(child) :], child]
            elif child not in state:
                state[child] = 1
                stack.append((child, iter(sorted(d for d, _ in dependencies(services[child]) if d in services))))
    return None


def with_dependencies(services: Mapping[str, Section], names: Iterable[str]) -> set[str]:
    """Return `names` and everything they depend on, directly or not."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name in found or name not in services:
            continue
        found.add(name)
        todo.extend(dependency for dependency, _ in dependencies(services[name]))
    return found


def dependents(services: Mapping[str, Section], name: str) -> list[str]:
    """Return the services that depend directly on `name`."""
    return [other for other in sorted(services) if name in (services[other].get("depends_on") or {})]
