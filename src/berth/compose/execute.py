"""Carry operations out: as many at once as their needs allow, each on a connection of its own.

An operation whose needs failed is not begun; those that do not depend on the failure go on. The first error is raised
at the end.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from berth.client.errors import ApiError, ClientError
from berth.client.http import Client, part
from berth.compose import bodies, labels, observe
from berth.compose.bodies import Wanted
from berth.compose.errors import ComposeFault, OperationFailed
from berth.compose.model import Project
from berth.compose.operations import Operation
from berth.compose.progress import Plain, Quiet
from berth.compose.seen import Json

#: Seconds after which a waiter looks again though no event came.
RECHECK_S: Final = 0.5
#: Threads at most, if the user sets no limit.
MOST_THREADS: Final = 64


class Clients:
    """A pool of connections to one engine; each is used by one thread at a time."""

    def __init__(self, first: Client) -> None:
        self.first = first
        self.idle: list[Client] = [first]
        self.lock = threading.Lock()

    def take(self) -> Client:
        """Take an idle client or make one."""
        with self.lock:
            return self.idle.pop() if self.idle else self.first.clone()

    def give(self, client: Client) -> None:
        """Give a client back."""
        with self.lock:
            self.idle.append(client)


class News:
    """Wakes those who wait for something to happen to the containers of a project."""

    def __init__(self, client: Client, project: str) -> None:
        self.condition = threading.Condition()
        self.count = 0
        self.client, self.project = client, project
        self.started = False

    def ensure(self) -> None:
        """Begin to listen, once."""
        with self.condition:
            if self.started:
                return
            self.started = True
        threading.Thread(target=self._listen, name="news", daemon=True).start()

    def _listen(self) -> None:
        query = {"filters": {"type": ["container"], "label": [f"{labels.PROJECT}={self.project}"]}}
        try:
            for _ in self.client.stream("GET", "/events", query).records():
                with self.condition:
                    self.count += 1
                    self.condition.notify_all()
        except (ClientError, OSError, ValueError):
            return  # waiters look by themselves every RECHECK_S

    def wake(self) -> None:
        """Let those who wait look again."""
        with self.condition:
            self.count += 1
            self.condition.notify_all()

    def wait(self, seen: int, limit_s: float) -> None:
        """Wait until there is news after `seen`, or the limit is over."""
        with self.condition:
            if self.count == seen:
                self.condition.wait(min(limit_s, RECHECK_S))


class Performer:
    """Turns one operation into calls."""

    def __init__(
        self,
        project: Project,
        clients: Clients,
        progress: Quiet,
        *,
        known: Mapping[str, str],
        first_of: Mapping[str, str],
        quiet_pull: bool = False,
        aliases: bool = True,
    ) -> None:
        self.project, self.clients, self.progress = project, clients, progress
        #: Container ids by final name; grows as containers are made.
        self.ids = dict(known)
        #: The final name of the first container of each service.
        self.first_of = first_of
        self.quiet_pull, self.aliases = quiet_pull, aliases
        self.news = News(clients.first.clone(), project.name)
        self.deadline: float | None = None
        self.given_up = False
        self.lock = threading.Lock()

    def perform(self, operation: Operation) -> None:
        """Do it; raises what the engine says, and `OperationFailed` once `give_up` was called."""
        self._go_on()
        client = self.clients.take()
        try:
            getattr(self, f"_{operation.act.name.lower()}")(client, operation)
        finally:
            self.clients.give(client)

    def give_up(self) -> None:
        """Begin no further operation, and wait for nothing any longer."""
        self.given_up = True
        self.news.wake()

    def _go_on(self) -> None:
        if self.given_up:
            raise OperationFailed("canceled")

    def _id(self, operation: Operation) -> str:
        if operation.container is not None:
            return operation.container.id
        with self.lock:
            found = self.ids.get(operation.target)
        if found is None:
            raise OperationFailed(f"No such container: {operation.target}")
        return found

    def container_of(self, service: str) -> str:
        """Return the id of the first container of a service."""
        with self.lock:
            found = self.ids.get(self.first_of.get(service, ""))
        if found is None:
            raise OperationFailed(f"service {service} has no container")
        return found

    # -- images, networks, volumes -------------------------------------------------------------------

    def _pull(self, client: Client, operation: Operation) -> None:
        pull_image(client, operation.target, operation.resource, self.progress, quiet=self.quiet_pull)

    def _create_network(self, client: Client, operation: Operation) -> None:
        resource = self.project.networks[operation.resource]
        try:
            client.post("/networks/create", None, bodies.network_body(self.project, operation.resource, resource))
        except ApiError as error:
            if error.status == 409 and "already exists" in error.message:
                return  # another `up` was quicker
            raise OperationFailed(f"failed to create network {operation.target}: {error.message}") from error

    def _remove_network(self, client: Client, operation: Operation) -> None:
        try:
            client.delete(f"/networks/{part(operation.resource)}")
        except ApiError as error:
            if error.status == 404:
                return
            if operation.optional and "active endpoints" in error.message:
                raise Skipped(f"Resource is still in use: {error.message}") from error
            raise

    def _connect(self, client: Client, operation: Operation) -> None:
        assert operation.want is not None
        self._connect_to(client, self._id(operation), operation.want, operation.resource)

    def _connect_to(self, client: Client, container: str, want: Wanted, key: str) -> None:
        service = self.project.services[want.service]
        order = bodies.ordered_networks(service)
        links = bodies.link_texts(self.project, service)
        settings = bodies.endpoint(self.project, want, key, links=links, aliases=self.aliases, first=key == order[0])
        name = self.project.networks[key]["name"]
        client.post(f"/networks/{part(name)}/connect", None, {"Container": container, "EndpointConfig": settings})

    def _disconnect(self, client: Client, operation: Operation) -> None:
        body = {"Container": self._id(operation), "Force": True}
        client.post(f"/networks/{part(operation.resource)}/disconnect", None, body)

    def _create_volume(self, client: Client, operation: Operation) -> None:
        resource = self.project.volumes[operation.resource]
        made = client.post("/volumes/create", None, bodies.volume_body(self.project, operation.resource, resource))
        for warning in made.get("Warnings") or ():
            self.progress.warn(warning)

    def _remove_volume(self, client: Client, operation: Operation) -> None:
        try:
            client.delete(f"/volumes/{part(operation.target)}", {"force": True})
        except ApiError as error:
            if error.status == 409:
                raise Skipped(f"Resource is still in use: {error.message}") from error
            if error.status != 404:
                raise

    def _remove_image(self, client: Client, operation: Operation) -> None:
        try:
            client.delete(f"/images/{operation.target}")
        except ApiError as error:
            if error.status == 409:
                raise Skipped(f"Resource is still in use: {error.message}") from error
            if error.status != 404:
                raise

    # -- containers ----------------------------------------------------------------------------------

    def _create(self, client: Client, operation: Operation) -> None:
        want = operation.want
        assert want is not None
        self.create_container(client, want, want.name)

    def _recreate(self, client: Client, operation: Operation) -> None:
        want, old = operation.want, operation.container
        assert want is not None
        assert old is not None
        # The final name is still taken; the old container gives it up when the new one is there to take it.
        self.create_container(client, want, f"{old.id[:12]}_{want.name}")

    def create_container(self, client: Client, want: Wanted, name: str) -> str:
        """Make a container, with its endpoints and injected files; returns its id."""
        service = self.project.services[want.service]
        if not want.image_id:
            # Its image was pulled by this very plan.
            found = observe.image(client, bodies.image_of(self.project, want.service))
            if found is None:
                raise OperationFailed(f"No such image: {bodies.image_of(self.project, want.service)}")
            want = want._replace(image_id=found["Id"])
        api = client.api_version()
        body = bodies.create_body(self.project, want, api, self.container_of, aliases=self.aliases)
        files = bodies.injected_files(self.project, service)
        query: dict[str, object] = {"name": name}
        if service.get("platform") and api >= (1, 41):
            query["platform"] = service["platform"]
        answer = client.post("/containers/create", query, body)
        container = str(answer["Id"])
        for warning in answer.get("Warnings") or ():
            self.progress.warn(warning)
        with self.lock:
            self.ids[want.name] = container
        if api < bodies.ENDPOINTS_IN_CREATE and "network_mode" not in service:
            for key in bodies.ordered_networks(service)[1:]:
                self._connect_to(client, container, want, key)
        if files:
            client.put(f"/containers/{container}/archive", {"path": "/"}, _archive(files))
        return container

    def _rename(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/rename", {"name": operation.target})

    def _start(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/start")
        self._hooks(client, operation, "post_start")

    def _hooks(self, client: Client, operation: Operation, kind: str) -> None:
        service = (
            self.project.services.get(operation.service or (operation.container.service if operation.container else ""))
            or {}
        )
        for hook in service.get(kind) or ():
            run_hook(client, self._id(operation), hook)

    def _stop(self, client: Client, operation: Operation) -> None:
        self._hooks(client, operation, "pre_stop")
        try:
            client.post(f"/containers/{self._id(operation)}/stop", {"t": operation.timeout})
        except ApiError as error:
            if error.status != 404:
                raise

    def _restart(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/restart", {"t": operation.timeout})

    def _kill(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/kill", {"signal": operation.signal or None})

    def _pause(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/pause")

    def _unpause(self, client: Client, operation: Operation) -> None:
        client.post(f"/containers/{self._id(operation)}/unpause")

    def _remove(self, client: Client, operation: Operation) -> None:
        try:
            client.delete(f"/containers/{self._id(operation)}", {"force": True, "v": operation.thorough})
        except ApiError as error:
            if error.status == 409 and "already in progress" in error.message:
                client.post(f"/containers/{self._id(operation)}/wait", {"condition": "removed"})
            elif error.status != 404:
                raise

    # -- waits ---------------------------------------------------------------------------------------

    def _watch(self, client: Client, operation: Operation, ready: Callable[[Json], bool]) -> None:
        """Inspect until `ready` says so or raises; look again on every event of the project."""
        container = self._id(operation)
        if ready(client.get(f"/containers/{container}/json")):
            return
        self.news.ensure()
        while True:
            seen = self.news.count
            self._go_on()
            if ready(client.get(f"/containers/{container}/json")):
                return
            left = RECHECK_S if self.deadline is None else self.deadline - time.monotonic()
            if left <= 0:
                raise OperationFailed("application not healthy after the time given by --wait-timeout")
            self.news.wait(seen, left)

    def _await_healthy(self, client: Client, operation: Operation) -> None:
        self._watch(client, operation, lambda inspected: _healthy(operation, inspected))

    def _await_exit(self, client: Client, operation: Operation) -> None:
        def ready(inspected: Json) -> bool:
            state = inspected["State"]
            if state.get("Status") not in {"exited", "dead"}:
                return False
            if state.get("ExitCode"):
                raise OperationFailed(
                    f'service "{operation.service}" didn\'t complete successfully: exit {state["ExitCode"]}'
                )
            return True

        self._watch(client, operation, ready)

    def _await_running(self, client: Client, operation: Operation) -> None:
        def ready(inspected: Json) -> bool:
            state = inspected["State"]
            status = state.get("Status")
            if status == "exited":
                if operation.thorough and not state.get("ExitCode"):
                    return True
                raise OperationFailed(f"container {operation.target} exited ({state.get('ExitCode')})")
            if has_healthcheck(inspected):
                return _healthy(operation, inspected)
            return bool(status == "running")

        self._watch(client, operation, ready)


class Skipped(ComposeFault):
    """What was to be done could not be and need not: a warning."""


def _healthy(operation: Operation, inspected: Json) -> bool:
    state = inspected["State"]
    if state.get("Status") in {"exited", "dead"}:
        raise OperationFailed(
            f"dependency failed to start: container {operation.target} exited ({state.get('ExitCode')})"
        )
    health = (state.get("Health") or {}).get("Status")
    if not has_healthcheck(inspected):
        raise OperationFailed(f"dependency failed to start: container {operation.target} has no healthcheck configured")
    if health == "unhealthy":
        raise OperationFailed(f"dependency failed to start: container {operation.target} is unhealthy")
    return bool(health == "healthy")


def has_healthcheck(inspected: Json) -> bool:
    """Whether a container tells its health; right after the start only its configuration says that it will."""
    health = ((inspected.get("State") or {}).get("Health") or {}).get("Status")
    test = ((inspected.get("Config") or {}).get("Healthcheck") or {}).get("Test") or []
    return bool((health and health != "none") or (test and test[0] != "NONE"))


def _archive(files: Iterable[bodies.FileContent]) -> bytes:
    """Pack files into a tar, at their absolute places."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.target.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.uid, file.gid
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()


def run_hook(client: Client, container: str, hook: Mapping[str, Any]) -> None:
    """Run a command in a container and wait for its end."""
    body = {
        "Cmd": hook["command"],
        "User": hook.get("user", ""),
        "Privileged": bool(hook.get("privileged")),
        "WorkingDir": hook.get("working_dir", ""),
        "Env": [key if value is None else f"{key}={value}" for key, value in (hook.get("environment") or {}).items()],
        "AttachStdout": True,
        "AttachStderr": True,
    }
    made = client.post(f"/containers/{container}/exec", None, body)["Id"]
    link = client.hijack("POST", f"/exec/{made}/start", None, {"Detach": False, "Tty": False})
    while link.read():
        pass
    link.close()
    code = client.get(f"/exec/{made}/json").get("ExitCode")
    if code:
        raise OperationFailed(f"hook {hook['command']} exited with {code}")


def split_reference(reference: str) -> tuple[str, str]:
    """Split an image reference into what `fromImage` and `tag` want."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, digest
    name, _, tag = reference.rpartition(":")
    if not name or "/" in tag:
        return reference, "latest"
    return name, tag


def pull_image(client: Client, reference: str, platform: str, progress: Quiet, *, quiet: bool) -> None:
    """Pull an image; its layers are shown as the progress of one row."""
    name, tag = split_reference(reference)
    sizes: dict[str, tuple[int, int]] = {}
    with client.stream(
        "POST", "/images/create", {"fromImage": name, "tag": tag, "platform": platform or None}
    ) as stream:
        for record in stream.records():
            if "error" in record:
                raise OperationFailed(f"{reference}: {record['error']}")
            detail = record.get("progressDetail") or {}
            if not quiet and detail.get("total"):
                sizes[record.get("id", "")] = (detail.get("current", 0), detail["total"])
                have, total = (sum(pair[index] for pair in sizes.values()) for index in (0, 1))
                if not isinstance(progress, Plain):
                    progress.working("Image", reference, f"Pulling {have / 1e6:.1f}/{total / 1e6:.1f}MB")


def execute(operations: Iterable[Operation], performer: Performer, progress: Quiet, limit: int = 0) -> None:
    """Carry out a plan; raises the first error when nothing more can be done."""
    todo = {operation.key: operation for operation in operations}
    if not todo:
        return
    waiting = {key: {need for need in operation.needs if need in todo} for key, operation in todo.items()}
    followers: dict[str, list[str]] = {}
    for key, needs in waiting.items():
        for need in needs:
            followers.setdefault(need, []).append(key)
    ended: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    ready = [key for key, needs in waiting.items() if not needs]
    errors: list[Exception] = []
    running, most = 0, limit if limit > 0 else MOST_THREADS
    dropped: set[str] = set()

    def work(operation: Operation) -> None:
        try:
            _shown(operation, performer, progress)
        except (ComposeFault, ClientError, OSError, ValueError, KeyError) as error:
            ended.put((operation.key, error))
        else:
            ended.put((operation.key, None))

    while ready or running:
        while ready and running < most:
            operation = todo[ready.pop(0)]
            running += 1
            threading.Thread(target=work, args=(operation,), name=operation.key, daemon=True).start()
        key, error = ended.get()
        running -= 1
        if error is not None and not todo[key].optional:
            errors.append(error)
            _drop(key, followers, dropped)
            continue
        if error is not None and not isinstance(error, Skipped):
            progress.warn(str(error))
        for follower in followers.get(key, ()):
            waiting[follower].discard(key)
            if not waiting[follower] and follower not in dropped:
                ready.append(follower)
    if errors:
        raise OperationFailed(str(errors[0])) from errors[0]


def _drop(key: str, followers: Mapping[str, list[str]], dropped: set[str]) -> None:
    todo = [key]
    while todo:
        for follower in followers.get(todo.pop(), ()):
            if follower not in dropped:
                dropped.add(follower)
                todo.append(follower)


def _shown(operation: Operation, performer: Performer, progress: Quiet) -> None:
    act = operation.act
    name = operation.target
    if not operation.silent:
        progress.working(act.noun, name, act.doing)
    try:
        performer.perform(operation)
    except Skipped as error:
        progress.done(act.noun, name, str(error))
        raise
    except (ComposeFault, ClientError) as error:
        progress.failed(act.noun, name, str(error))
        raise
    if not operation.silent:
        progress.done(act.noun, name, act.done)
