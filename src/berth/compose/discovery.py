"""Find the Compose files, the project directory, its environment and its name.

Reads files, decides nothing about their content.
"""

import os
import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from berth.compose import dotenv
from berth.compose.errors import BadUsage, NoComposeFile, fault
from berth.compose.interpolate import Lookup

FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES: Final = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")
_TRUE: Final = frozenset({"1", "true", "yes", "on", "t", "y"})


class Flags(NamedTuple):
    """The global flags that say which project is meant."""

    files: tuple[str, ...] = ()
    project_name: str | None = None
    project_directory: str | None = None
    env_files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where a project lives: files (`-` is standard input), directory, variables, profiles and, if said, its name."""

    files: tuple[str, ...]
    directory: str
    variables: dict[str, str]
    profiles: tuple[str, ...]
    name: str | None
    #: Environment files given by `--env-file`, absolute; they go into a label.
    env_files: tuple[str, ...] = ()
    #: Where parsed files are remembered; nowhere if None.
    cache: str | None = None


def normal_name(text: str) -> str:
    """Make a project name of any text: small letters, digits, `-` and `_`, beginning with a letter or digit."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).lstrip("_-")


def is_true(text: str | None) -> bool:
    """Read a boolean from an environment variable."""
    return (text or "").lower() in _TRUE


def checked_name(text: str) -> str:
    """Return a project name given by the user, or refuse it."""
    if not NAME.match(text):
        raise BadUsage(
            f'invalid project name "{text}": must consist only of lowercase alphanumeric characters, hyphens,'
            " and underscores as well as start with a letter or number"
        )
    return text


def read_text(path: str) -> str:
    """Read a file as UTF-8."""
    with open(path, encoding="utf-8-sig") as file:
        return file.read()


def read_env_file(path: str, lookup: Lookup, warn: Callable[[str], None] | None = None) -> dict[str, str]:
    """Read an environment file."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise fault(f"couldn't read env file {path}: {getattr(error, 'strerror', None) or error}") from None
    return dotenv.parse(text, path, lookup, warn)


def _search(start: str) -> tuple[str, list[str], list[str]] | None:
    """Look for a Compose file in `start` and above: the directory, the candidates found, the overrides found."""
    here = start
    while True:
        found = [name for name in FILES if os.path.isfile(os.path.join(here, name))]
        if found:
            return here, found, [name for name in OVERRIDES if os.path.isfile(os.path.join(here, name))]
        above = os.path.dirname(here)
        if above == here:
            return None
        here = above


def locate(  # noqa: C901, PLR0912  the order of precedence, step by step
    flags: Flags, environ: Mapping[str, str], cwd: str, warn: Callable[[str], None], *, need_file: bool = True
) -> Place:
    """Find files, directory and environment; without `need_file` a project name is enough."""
    variables = dict(environ)
    given = list(flags.files)
    no_dotenv = is_true(environ.get("COMPOSE_DISABLE_ENV_FILE"))
    env_files = list(flags.env_files) or [name for name in environ.get("COMPOSE_ENV_FILES", "").split(",") if name]
    env_files = [os.path.join(cwd, name) for name in env_files]
    fixed = flags.project_directory and os.path.join(cwd, flags.project_directory)
    if env_files:
        layered: dict[str, str] = {}
        for path in env_files:
            layered.update(read_env_file(path, lambda name: environ.get(name, layered.get(name))))
        _add(variables, layered)
    elif not no_dotenv and not given:
        _add_dotenv(variables, os.path.normpath(fixed or cwd))
    if not given and (listed := variables.get("COMPOSE_FILE")):
        given = [name for name in listed.split(variables.get("COMPOSE_PATH_SEPARATOR") or os.pathsep) if name]
    if given:
        files = [name if name == "-" else os.path.normpath(os.path.join(cwd, name)) for name in given]
        home = cwd if files[0] == "-" else os.path.dirname(files[0])
    else:
        searched = _search(os.path.normpath(fixed or cwd))
        if searched is None:
            if need_file:
                raise NoComposeFile("no configuration file provided: not found")
            files, home = [], cwd
        else:
            home, found, overrides = searched
            files = [os.path.join(home, found[0])]
            if len(found) > 1:
                listed = ", ".join(os.path.join(home, name) for name in found)
                warn(f"Found multiple config files with supported names: {listed}")
                warn(f"Using {files[0]}")
            if overrides:
                files.append(os.path.join(home, overrides[0]))
                if len(overrides) > 1:
                    warn(
                        f"Found multiple override files with supported names: {', '.join(overrides)};"
                        f" using {overrides[0]}"
                    )
    directory = os.path.normpath(fixed or home)
    if not env_files and not no_dotenv:
        _add_dotenv(variables, directory)
    for path in files:
        if path != "-" and not os.path.isfile(path):
            raise NoComposeFile(f"open {path}: no such file or directory")
    name = checked_name(flags.project_name) if flags.project_name else None
    if name is None and variables.get("COMPOSE_PROJECT_NAME"):
        name = checked_name(variables["COMPOSE_PROJECT_NAME"])
    profiles = flags.profiles or tuple(
        part.strip() for part in variables.get("COMPOSE_PROFILES", "").split(",") if part.strip()
    )
    return Place(tuple(files), directory, variables, tuple(profiles), name, tuple(env_files) if flags.env_files else ())


def _add(variables: dict[str, str], more: Mapping[str, str]) -> None:
    for key, value in more.items():
        variables.setdefault(key, value)


def _add_dotenv(variables: dict[str, str], directory: str) -> None:
    path = os.path.join(directory, ".env")
    if os.path.isfile(path):
        _add(variables, read_env_file(path, variables.get))
