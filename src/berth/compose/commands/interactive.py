"""exec and run: a command in a container, joined with the user's terminal."""

import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import FrameType

from berth.client.errors import ApiError
from berth.compose import bodies, short
from berth.compose.arguments import Parsed
from berth.compose.bodies import Wanted
from berth.compose.commands.up import bring_images, converge, look
from berth.compose.discovery import read_env_file
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.execute import Performer, execute
from berth.compose.model import Project, Section, with_dependencies
from berth.compose.reconcile import UpOptions, plan_up
from berth.compose.session import Session
from berth.compose.terminal import Raw, follow_size, pump


def _wants_tty(flags: Parsed) -> bool:
    if flags.has("no-tty") or flags.has("no-TTY") or flags.has("detach"):
        return False
    return sys.stdin.isatty() and sys.stdout.isatty()


def exec_(session: Session, flags: Parsed) -> int:
    """Run a command in a running container; its exit code is ours."""
    if len(flags.arguments) < 2:
        raise BadUsage("exec needs SERVICE and COMMAND")
    service, *command = flags.arguments
    client = session.client
    container = session.one(session.existing(), service, flags.integer("index"))
    tty, detach = _wants_tty(flags), flags.has("detach")
    body = {
        "AttachStdin": not detach,
        "AttachStdout": not detach,
        "AttachStderr": not detach,
        "Tty": tty,
        "Cmd": command,
        "User": flags.text("user"),
        "WorkingDir": flags.text("workdir"),
        "Env": flags.all("env"),
        "Privileged": flags.has("privileged"),
        "Detach": detach,
    }
    made = client.post(f"/containers/{container.id}/exec", None, body)["Id"]
    if detach:
        client.post(f"/exec/{made}/start", None, {"Detach": True, "Tty": False})
        return 0
    link = client.hijack("POST", f"/exec/{made}/start", None, {"Detach": False, "Tty": tty})
    with Raw(wanted=tty):
        if tty:
            resizer = client.clone()
            follow_size(lambda columns, rows: resizer.post(f"/exec/{made}/resize", {"w": columns, "h": rows}))
        pump(link, stdin=True, tty=tty)
    link.close()
    return int(client.get(f"/exec/{made}/json").get("ExitCode") or 0)


def _altered(  # noqa: C901, PLR0912  one branch per flag
    project: Project, name: str, flags: Parsed, command: list[str], *, tty: bool
) -> Project:
    """Return the project with the service as the flags of `run` want it."""
    service: Section = dict(project.services[name])
    for key in ("container_name", "scale", "healthcheck", "restart"):
        service.pop(key, None)
    if deploy := service.get("deploy"):
        service["deploy"] = {key: value for key, value in deploy.items() if key not in {"replicas", "restart_policy"}}
    if command:
        service["command"] = command
    if flags.values.get("entrypoint"):
        service["entrypoint"] = short.shell_words(flags.text("entrypoint"))
        if not command:
            service["command"] = []
    if flags.text("user"):
        service["user"] = flags.text("user")
    if flags.text("workdir"):
        service["working_dir"] = flags.text("workdir")
    environment = dict(service.get("environment") or {})
    for path in flags.all("env-from-file"):
        environment.update(read_env_file(path, project.variables.get))
    environment.update(_pairs(flags.all("env"), project.variables.get))
    if environment:
        service["environment"] = environment
    if flags.all("label"):
        service["labels"] = {
            **(service.get("labels") or {}),
            **{k: v or "" for k, v in _pairs(flags.all("label"), {}.get).items()},
        }
    published = service.get("ports") if flags.has("service-ports") else []
    service["ports"] = [*(published or ()), *(port for text in flags.all("publish") for port in short.ports(text))]
    volumes = dict(project.volumes)
    for text in flags.all("volume"):
        mount = short.mount(text, lambda path: os.path.abspath(os.path.expanduser(path)))
        if mount["type"] == "volume" and mount.get("source") and mount["source"] not in volumes:
            # Named on the command line only: the engine's own volume of that name.
            volumes[mount["source"]] = {"name": mount["source"], "external": True}
        kept = [other for other in service.get("volumes") or () if other["target"] != mount["target"]]
        service["volumes"] = [*kept, mount]
    for flag, key in (("cap-add", "cap_add"), ("cap-drop", "cap_drop")):
        if flags.all(flag):
            service[key] = [*(service.get(key) or ()), *flags.all(flag)]
    if service.get("networks"):
        # Its addresses belong to the service's own container, which may well be running.
        fixed = {"ipv4_address", "ipv6_address", "link_local_ips", "mac_address"}
        service["networks"] = {
            key: {name: value for name, value in (settings or {}).items() if name not in fixed}
            for key, settings in service["networks"].items()
        }
    service.pop("mac_address", None)
    service["tty"] = tty
    service["stdin_open"] = not flags.has("detach")
    return project._replace(services={**project.services, name: service}, volumes=volumes)


def _pairs(texts: Iterable[str], lookup: object) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        found[key] = value if sign else lookup(key) if callable(lookup) else None
    return found


def run(session: Session, flags: Parsed) -> int:
    """Run a command in a new container of a service; dependencies are brought up first."""
    if not flags.arguments:
        raise BadUsage("run needs SERVICE")
    if flags.has("build"):
        raise ComposeFault("--build: building images is not available yet")
    name, *command = flags.arguments
    project = session.project([name])
    if not flags.has("no-deps"):
        needed = sorted(with_dependencies(project.services, [name]) - {name})
        if needed:
            converge(session, project, Parsed({"pull": flags.all("pull"), "no-recreate": ["true"]}, needed), start=True)
            _await_dependencies(session, project, name)
    tty = _wants_tty(flags)
    project = _altered(project, name, flags, command, tty=tty)
    bodies.check_files(project, [name])
    seen = look(session, project, [name])
    seen = bring_images(session, project, seen, [name], flags)
    performer = session.performer(project, seen.containers)
    performer.aliases = flags.has("use-aliases")
    # Networks and volumes of the service itself, as `up` would make them.
    resources = plan_up(
        project._replace(services={name: {**project.services[name], "scale": 0}}),
        seen._replace(containers=()),
        UpOptions(frozenset({name}), replace_networks=False),
    )
    session.run(resources.operations, performer)
    slug = os.urandom(32).hex()
    image = seen.images[bodies.image_of(project, name)] or {}
    shown = flags.text("name") or f"{project.name}-{name}-run-{slug[:12]}"
    want = Wanted(name, shown, slug=slug, image_id=image.get("Id", ""))
    container = performer.create_container(session.client, want, shown)
    if flags.has("detach"):
        session.client.post(f"/containers/{container}/start")
        print(container)
        return 0
    return _attend(session, container, tty=tty, remove=flags.has("rm"))


def _await_dependencies(session: Session, project: Project, name: str) -> None:
    """Wait for the conditions under which the service itself may start."""
    services = {
        key: value for key, value in project.services.items() if key in with_dependencies(project.services, [name])
    }
    narrowed = project._replace(services=services)
    seen = look(session, narrowed, services)
    options = UpOptions(frozenset(services), no_recreate=True, replace_networks=False)
    plan = plan_up(narrowed, seen._replace(containers=tuple(c for c in seen.containers if c.service != name)), options)
    waits = [operation for operation in plan.operations if operation.act.name.startswith("AWAIT")]
    performer: Performer = session.performer(project, seen.containers)
    with session.progress:
        execute(waits, performer, session.progress, session.limit)


def _attend(session: Session, container: str, *, tty: bool, remove: bool) -> int:
    """Attach, start, copy both ways and wait for the end."""
    client = session.client
    link = client.hijack(
        "POST", f"/containers/{container}/attach", {"stream": True, "stdin": True, "stdout": True, "stderr": True}
    )
    ended: list[int] = []
    try:
        waiting = client.clone().stream("POST", f"/containers/{container}/wait", {"condition": "next-exit"})

        def wait() -> None:
            ended.append(int((waiting.decoded() or {}).get("StatusCode", 0)))

        waiter = threading.Thread(target=wait, daemon=True)
        waiter.start()
        client.post(f"/containers/{container}/start")
        with Raw(wanted=tty):
            if tty:
                resizer = client.clone()
                follow_size(
                    lambda columns, rows: resizer.post(f"/containers/{container}/resize", {"w": columns, "h": rows})
                )
            else:
                _forward_signals(session, container)
            pump(link, stdin=True, tty=tty)
        waiter.join()
    finally:
        link.close()
        if remove:
            try:
                client.delete(f"/containers/{container}", {"force": True, "v": True})
            except ApiError as error:
                session.warn(str(error))
    return ended[0] if ended else 1


def _forward_signals(session: Session, container: str) -> None:
    """Pass an interrupt or a polite end on to the container; without a terminal nobody else does."""

    def forward(number: int, _frame: FrameType | None) -> None:
        try:
            session.client.clone().post(f"/containers/{container}/kill", {"signal": signal.Signals(number).name})
        except ApiError:
            return  # it has just ended

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
