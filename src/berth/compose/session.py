"""One run of a command: the global flags, the connection, the progress, and the project when it is asked for."""

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from berth.client.http import Client
from berth.compose import bodies, labels, observe
from berth.compose.arguments import Parsed
from berth.compose.discovery import Flags, Place, locate
from berth.compose.errors import BadUsage, ComposeFault, NoComposeFile
from berth.compose.model import Project, Section
from berth.compose.operations import Operation, order
from berth.compose.parsed import cache_directory
from berth.compose.progress import Plain, Quiet, choose
from berth.compose.seen import Container

if TYPE_CHECKING:
    from berth.compose.execute import Performer


class Session:
    """What the commands share."""

    def __init__(self, options: Parsed, host: str) -> None:
        self.options = options
        self.host = options.text("host") or host
        self.dry_run = options.has("dry-run")
        self.warned: set[str] = set()
        self._client: Client | None = None
        self._place: Place | None = None
        self.from_files = False
        self.looking = False
        environ = os.environ
        self.progress: Quiet = choose(
            options.text("progress") or environ.get("COMPOSE_PROGRESS", "auto"),
            options.text("ansi") or environ.get("COMPOSE_ANSI", "auto"),
            dry_run=self.dry_run,
        )
        limit = options.text("parallel") or environ.get("COMPOSE_PARALLEL_LIMIT", "0")
        try:
            self.limit = int(limit)
        except ValueError:
            raise BadUsage(f"--parallel must be a number, not {limit}") from None

    @property
    def client(self) -> Client:
        """The connection of the main thread."""
        if self._client is None:
            self._client = Client(self.host or None)
        return self._client

    def warn(self, text: str) -> None:
        """Tell the user something once."""
        if self.looking and "`version` is obsolete" in text:
            return  # said by the commands that act on the files; those that only look stay quiet
        if text not in self.warned:
            self.warned.add(text)
            self.progress.warn(text)

    def place(self, *, need_file: bool = True) -> Place:
        """Find the project's files and variables."""
        if self._place is None or (need_file and not self._place.files):
            flags = Flags(
                files=tuple(self.options.all("file")),
                project_name=self.options.text("project-name") or None,
                project_directory=self.options.text("project-directory") or None,
                env_files=tuple(self.options.all("env-file")),
                profiles=tuple(part for text in self.options.all("profile") for part in text.split(",") if part),
            )
            self._place = locate(flags, os.environ, os.getcwd(), self.warn, need_file=need_file)
            self._place = self._place._replace(cache=cache_directory(os.environ))
        return self._place

    def project(self, selected: Iterable[str] = (), *, resolve_environment: bool = True) -> Project:
        """Load the project from its files."""
        from berth.compose.project import load_project

        place = self.place()
        self.from_files = True
        selected = tuple(selected)
        project = load_project(
            place, self.warn, sys.stdin.read, selected=selected, resolve_environment=resolve_environment
        )
        for name in selected:
            if name not in project.services:
                raise ComposeFault(f"no such service: {name}")
        return project

    def existing(self, selected: Iterable[str] = (), *, every_profile: bool = True) -> Project:
        """Load the project from its files, or, if there are none but a name, from what runs."""
        self.looking = True
        try:
            place = self.place(need_file=False)
            if not place.files:
                if place.name is None:
                    raise NoComposeFile("no configuration file provided: not found")
                return self.from_labels(place.name, place.directory, selected)
            if every_profile:
                self._place = place._replace(profiles=("*",))
            # An env file that went missing must not keep anybody from stopping what runs.
            return self.project(selected, resolve_environment=False)
        finally:
            self._place = None

    def from_labels(self, name: str, directory: str, selected: Iterable[str]) -> Project:
        """Rebuild as much of the model as the labels of its containers tell."""
        services: dict[str, Section] = {}
        for container in observe.containers(self.client, name):
            if not container.service:
                continue
            service = services.setdefault(
                container.service, {"depends_on": {}, "image": container.summary.get("Image", "")}
            )
            for entry in container.labels.get(labels.DEPENDS_ON, "").split(","):
                other, _, rest = entry.partition(":")
                if other:
                    condition, _, restart = rest.partition(":")
                    service["depends_on"][other] = {
                        "condition": condition or "service_started", "restart": restart == "true", "required": False,
                    }  # fmt: skip
        for wanted in selected:
            if wanted not in services:
                raise ComposeFault(f"no such service: {wanted}")
        return Project(name, directory, (), services, {}, {}, {}, {}, {}, {}, {})

    def containers(self, project: Project, services: Iterable[str], *, oneoffs: bool = False) -> list[Container]:
        """List the containers of some services, or of all the project knows."""
        wanted = set(services) or set(project.services)
        found = observe.containers(self.client, project.name)
        return [c for c in found if c.service in wanted and (oneoffs or not c.oneoff)]

    def one(self, project: Project, service: str, index: int | None) -> Container:
        """Return one running container of a service: the given number, or the lowest."""
        if service not in project.services and service not in project.disabled:
            raise ComposeFault(f"no such service: {service}")
        found = [c for c in observe.containers(self.client, project.name) if c.service == service and not c.oneoff]
        for container in found:
            if (index is None or container.number == index) and container.alive:
                return container
        if index is not None:
            raise ComposeFault(f'service "{service}" is not running container #{index}')
        raise ComposeFault(f'service "{service}" is not running')

    def performer(
        self, project: Project, containers: Iterable[Container] = (), *, quiet_pull: bool = False
    ) -> "Performer":
        """Make what carries operations out."""
        from berth.compose.execute import Clients, Performer

        first = {name: bodies.container_name(project, name, 1) for name in project.services}
        lowest: dict[str, Container] = {}
        known: dict[str, str] = {}
        for container in containers:
            known[container.name] = container.id
            if not container.oneoff and (
                container.service not in lowest or container.number < lowest[container.service].number
            ):
                lowest[container.service] = container
        for name, container in lowest.items():
            first[name] = bodies.container_name(project, name, container.number) if container.number else container.name
            known.setdefault(first[name], container.id)
        return Performer(
            project, Clients(self.client), self.progress, known=known, first_of=first, quiet_pull=quiet_pull
        )

    def run(self, operations: Iterable[Operation], performer: "Performer") -> None:
        """Carry out a plan, or only tell it."""
        if self.dry_run:
            for operation in order(operations):
                if not operation.silent:
                    Plain(self.progress.out).done(
                        f"DRY-RUN MODE -  {operation.act.noun}", operation.target, operation.act.done
                    )
            return
        operations = tuple(operations)
        if not operations:
            return
        from berth.compose.execute import execute

        with self.progress:
            execute(operations, performer, self.progress, self.limit)
