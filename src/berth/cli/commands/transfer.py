"""Images that travel: pull, push, save, load, import."""

from __future__ import annotations

import os
import sys

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.config import auth_header, registry_of
from berth.client.http import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from berth.cli.session import Session

_FAMILIAR = "docker.io/"


def full_name(name: str, *, tagged: bool = True) -> str:
    """Return an image's whole name, as a pull prints it at its end."""
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not ("." in first or ":" in first or first == "localhost"):
        name = f"docker.io/{name}"
    if tagged and "@" not in name and ":" not in name.rpartition("/")[2]:
        name += ":latest"
    return name


def split_tag(name: str) -> tuple[str, str]:
    """Split a name into repository and tag or digest; the latter may be empty."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        return repository, digest
    head, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return f"{head}{slash}{last}", tag


def check_reference(name: str) -> None:
    """Refuse what cannot be an image's name."""
    import re

    path = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
    host = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
    form = rf"(?:{host}/)?{path}(?:/{path})*(?::[\w][\w.-]{{0,127}})?(?:@[A-Za-z][\w+.-]*:[0-9a-fA-F]{{32,}})?"
    if not re.fullmatch(form, name):
        if re.search(r"[A-Z]", split_tag(name)[0].rpartition("/")[2]):
            raise CommandFailed("invalid reference format: repository name (" + full_name(name, tagged=False)
                                .removeprefix(_FAMILIAR).partition(":")[0] + ") must be lowercase", 125)  # fmt: skip
        raise CommandFailed("invalid reference format", 125)


def pull(
    session: Session, image: str, *, platform: str = "", quiet: bool = False, out: TextIO, every: bool = False
) -> None:
    """Pull an image, showing progress on `out`."""
    from berth.cli.progress import show_progress

    check_reference(image)
    repository, tag = split_tag(image)
    query = {
        "fromImage": full_name(repository, tagged=False),
        "tag": None if every else tag or "latest",
        "platform": platform or None,
    }
    credentials = session.settings.credentials(registry_of(image))
    headers = auth_header(credentials) if credentials else None
    response = session.client.stream("POST", "/images/create", query, headers=headers)
    show_progress(response.records(), None if quiet else out)


def _pull(session: Session, parsed: Parsed) -> None:
    name = parsed.args[0]
    every = parsed.flag("all-tags")
    check_reference(name)
    if every and split_tag(name)[1]:
        raise CommandFailed("tag can't be used with --all-tags/-a")
    quiet = parsed.flag("quiet")
    if not every and not split_tag(name)[1] and not quiet:
        session.line("Using default tag: latest")
        sys.stdout.flush()
    pull(session, name, platform=parsed.text("platform"), quiet=quiet, out=sys.stdout, every=every)
    session.line(full_name(name, tagged=not every))


def _push(session: Session, parsed: Parsed) -> None:
    from berth.cli.progress import show_progress

    name = parsed.args[0]
    check_reference(name)
    repository, tag = split_tag(name)
    every, quiet = parsed.flag("all-tags"), parsed.flag("quiet")
    if every and tag:
        raise CommandFailed("tag can't be used with --all-tags/-a")
    if not every and not tag:
        tag = "latest"
        if not quiet:
            session.line("Using default tag: latest")
            sys.stdout.flush()
    headers = auth_header(session.settings.credentials(registry_of(name)))
    query = {"tag": None if every else tag}
    response = session.client.stream("POST", f"/images/{quote(repository)}/push", query, headers=headers)
    show_progress(response.records(), None if quiet else sys.stdout)
    if quiet:
        session.line(full_name(name, tagged=not every))


def _save(session: Session, parsed: Parsed) -> None:
    from berth.cli.files import binary_output

    platform = parsed.text("platform")
    query = {"names": parsed.args, "platform": _platform_json(platform) if platform else None}
    with binary_output(parsed.text("output")) as write:
        for piece in session.client.stream("GET", "/images/get", query).chunks():
            write(piece)


def _platform_json(text: str) -> str:
    import json

    system, _, rest = text.partition("/")
    architecture, _, variant = rest.partition("/")
    found = {"os": system, "architecture": architecture, "variant": variant}
    return json.dumps({key: value for key, value in found.items() if value})


def _load(session: Session, parsed: Parsed) -> None:
    from berth.cli.progress import show_progress

    path = parsed.text("input")
    query = {"quiet": parsed.flag("quiet") or not os.isatty(1)}
    if path:
        try:
            file = open(path, "rb")  # noqa: SIM115  closed by the with below
        except OSError as error:
            raise CommandFailed(f"open {path}: {str(error.strerror).lower()}") from None
    else:
        if os.isatty(0):
            raise CommandFailed("requested load from stdin, but stdin is empty")
        file = sys.stdin.buffer  # type: ignore[assignment]
    with file:
        response = session.client.stream("POST", "/images/load", query, file)
        if "json" in response.headers.get("content-type", ""):
            show_progress(response.records(), sys.stdout)
        else:
            sys.stdout.write(response.read().decode("utf-8", "replace"))


def _import(session: Session, parsed: Parsed) -> None:
    from berth.cli.progress import show_progress

    source = parsed.args[0]
    repository, tag = split_tag(parsed.args[1]) if len(parsed.args) > 1 else ("", "")
    query: dict[str, object] = {
        "fromSrc": "-",
        "repo": repository or None,
        "tag": tag or None,
        "message": parsed.text("message") or None,
        "changes": parsed.list("change"),
        "platform": parsed.text("platform") or None,
    }
    body: object = None
    if source == "-":
        body = sys.stdin.buffer
    elif source.startswith(("http://", "https://")):
        query["fromSrc"] = source
    else:
        try:
            body = open(source, "rb")  # noqa: SIM115  the process ends with the command
        except OSError as error:
            raise CommandFailed(f"open {source}: {str(error.strerror).lower()}") from None
    response = session.client.stream("POST", "/images/create", query, body)
    show_progress(response.records(), sys.stdout)


_PLATFORM = "Set platform if server is multi-platform capable"
_TRUST = Flag("disable-content-trust", "", "bool", "Skip image verification", default=True)
_QUIET = Flag("quiet", "q", "bool", "Suppress verbose output")

PULL = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    _pull,
    (
        Flag("all-tags", "a", "bool", "Download all tagged images in the repository"),
        _TRUST,
        Flag("platform", "", "string", _PLATFORM),
        _QUIET,
    ),
    least=1,
    most=1,
)
PUSH = Command(
    "[OPTIONS] NAME[:TAG]",
    _push,
    (
        Flag("all-tags", "a", "bool", "Push all tags of an image to the repository"),
        Flag("disable-content-trust", "", "bool", "Skip image signing", default=True),
        _QUIET,
    ),
    least=1,
    most=1,
)
SAVE = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    _save,
    (
        Flag("output", "o", "string", "Write to a file, instead of STDOUT"),
        Flag(
            "platform",
            "",
            "string",
            'Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")',
        ),
    ),
    least=1,
    most=None,
)
LOAD = Command(
    "[OPTIONS]",
    _load,
    (
        Flag("input", "i", "string", "Read from tar archive file, instead of STDIN"),
        Flag("quiet", "q", "bool", "Suppress the load output"),
    ),
)
IMPORT = Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    _import,
    (
        Flag("change", "c", "list", "Apply Dockerfile instruction to the created image"),
        Flag("message", "m", "string", "Set commit message for imported image"),
        Flag("platform", "", "string", _PLATFORM),
    ),
    least=1,
    most=2,
)
