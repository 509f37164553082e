"""The command line: the flags of Docker Compose, parsed by a table.

Own parser, because importing argparse costs as much as all the rest of a `ps`.
"""

from typing import Final, NamedTuple

from berth.compose.errors import BadUsage

Values = dict[str, list[str]]


class Command(NamedTuple):
    """One command: `flags` reads `name[/short][=]`, where `=` marks a flag that takes a value."""

    summary: str
    arguments: str
    flags: str
    #: Where its function lives: module and name.
    module: str
    function: str
    #: Flags end at the first argument, as those of the command to be run follow.
    strict: bool = False


GLOBAL: Final = (
    "file/f= project-name/p= profile= env-file= project-directory= progress= ansi= parallel= dry-run compatibility"
    " verbose all-resources host/H= help/h version/v"
)
_UP: Final = (
    "build force-recreate no-recreate no-build pull= quiet-pull remove-orphans scale= timeout/t= renew-anon-volumes/V"
    " yes/y"
)

COMMANDS: Final[dict[str, Command]] = {
    "config": Command(
        "Print the project in canonical form", "[SERVICE...]",
        "format= quiet/q services volumes networks images profiles hash= no-interpolate no-consistency no-normalize"
        " no-path-resolution no-env-resolution output/o= variables environment resolve-image-digests",
        "config", "config",
    ),
    "cp": Command(
        "Copy between a container and the host",
        "SOURCE DEST", "archive/a follow-link/L index= all", "copy", "cp"),
    "create": Command("Create containers without starting them", "[SERVICE...]", f"{_UP} no-deps", "up", "create"),
    "down": Command(
        "Stop and remove containers and networks",
        "[SERVICE...]", "volumes/v remove-orphans rmi= timeout/t=", "up", "down"
    ),
    "events": Command(
        "Print events of the project's containers",
        "[SERVICE...]", "json since= until=", "streams", "events"),
    "exec": Command(
        "Run a command in a running container", "SERVICE COMMAND [ARGS...]",
        "detach/d env/e= user/u= workdir/w= no-tty/T no-TTY index= privileged interactive/i tty/t",
        "interactive", "exec_", strict=True,
    ),
    "images": Command("List the images containers were made from", "[SERVICE...]", "format= quiet/q", "show", "images"),
    "kill": Command("Send a signal to containers", "[SERVICE...]", "signal/s= remove-orphans", "lifecycle", "kill"),
    "logs": Command(
        "Show what containers print", "[SERVICE...]",
        "follow/f tail/n= since= until= timestamps/t no-color no-log-prefix index=",
        "streams", "logs",
    ),
    "ls": Command("List projects", "", "all/a quiet/q format= filter=", "show", "ls"),
    "pause": Command("Pause containers", "[SERVICE...]", "", "lifecycle", "pause"),
    "port": Command("Print where a port is published", "SERVICE PRIVATE_PORT", "index= protocol=", "show", "port"),
    "ps": Command(
        "List containers",
        "[SERVICE...]", "all/a quiet/q format= services status= filter= orphans no-trunc", "show", "ps"
    ),
    "pull": Command(
        "Pull images",
        "[SERVICE...]", "quiet/q include-deps ignore-buildable ignore-pull-failures policy=", "lifecycle", "pull"
    ),
    "restart": Command("Restart containers", "[SERVICE...]", "timeout/t= no-deps", "lifecycle", "restart"),
    "rm": Command("Remove stopped containers", "[SERVICE...]", "force/f stop/s volumes/v all/a", "lifecycle", "rm"),
    "run": Command(
        "Run a command once, in a container of its own", "SERVICE [COMMAND] [ARGS...]",
        "rm detach/d env/e= env-from-file= label/l= volume/v= publish/p= service-ports/P name= entrypoint= user/u="
        " workdir/w= no-tty/T no-TTY no-deps use-aliases quiet-pull quiet/q build pull= cap-add= cap-drop="
        " remove-orphans interactive/i tty/t",
        "interactive", "run", strict=True,
    ),
    "scale": Command("Set how many containers services have", "SERVICE=N...", "no-deps", "up", "scale"),
    "start": Command("Start existing containers", "[SERVICE...]", "wait wait-timeout=", "lifecycle", "start"),
    "stats": Command("Not available yet", "[SERVICE...]", "", "show", "unavailable"),
    "stop": Command("Stop containers", "[SERVICE...]", "timeout/t=", "lifecycle", "stop"),
    "top": Command("Show the processes of containers", "[SERVICE...]", "", "show", "top"),
    "unpause": Command("Let paused containers go on", "[SERVICE...]", "", "lifecycle", "unpause"),
    "up": Command(
        "Create and start containers", "[SERVICE...]",
        f"{_UP} detach/d no-deps always-recreate-deps no-start wait wait-timeout= abort-on-container-exit"
        " abort-on-container-failure exit-code-from= attach= no-attach= attach-dependencies no-color no-log-prefix"
        " timestamps watch/w menu",
        "up", "up",
    ),
    "version": Command("Print the version", "", "format/f= short", "show", "version"),
    "volumes": Command("List the project's volumes", "[SERVICE...]", "format= quiet/q", "show", "volumes"),
    "wait": Command("Wait until containers stop", "SERVICE...", "down-project", "streams", "wait"),
}  # fmt: skip
COMMANDS["convert"] = COMMANDS["config"]

_BOOLEANS: Final = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}


class Parsed(NamedTuple):
    """Flags and arguments of one command."""

    values: Values
    arguments: list[str]

    def has(self, name: str) -> bool:
        """Whether a boolean flag is set."""
        return bool(self.values.get(name)) and self.values[name][-1] != "false"

    def text(self, name: str, default: str = "") -> str:
        """Return a value flag."""
        found = self.values.get(name)
        return found[-1] if found else default

    def all(self, name: str) -> list[str]:
        """Return every value given to a flag."""
        return self.values.get(name, [])

    def integer(self, name: str) -> int | None:
        """Return a value flag as a number."""
        text = self.text(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise BadUsage(f'invalid argument "{text}" for "--{name}" flag: not a number') from None


def _table(flags: str) -> dict[str, tuple[str, bool]]:
    table: dict[str, tuple[str, bool]] = {}
    for word in flags.split():
        takes = word.endswith("=")
        name, _, letter = word.rstrip("=").partition("/")
        table[f"--{name}"] = (name, takes)
        if letter:
            table[f"-{letter}"] = (name, takes)
    return table


def parse(words: list[str], flags: str, *, strict: bool, command: str) -> Parsed:
    """Parse flags and arguments; with `strict` everything from the first argument on is an argument."""
    table = _table(flags + ("" if "help" in flags else " help/h" if "/h" not in flags else " help"))
    values: Values = {}
    arguments: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "--":
            arguments += words[at:]
            break
        if not word.startswith("-") or word == "-":
            arguments.append(word)
            if strict:
                arguments += words[at:]
                break
            continue
        if word.startswith("--"):
            at = _long(word, words, at, table, values, command)
        else:
            at = _short(word, words, at, table, values, command)
    return Parsed(values, arguments)


def _long(
    word: str, words: list[str], at: int, table: dict[str, tuple[str, bool]], values: Values, command: str
) -> int:
    flag, sign, value = word.partition("=")
    if flag not in table:
        raise BadUsage(f"unknown flag: {flag}\n\nSee 'berth compose {command} --help'.".replace("  ", " "))
    name, takes = table[flag]
    if not takes:
        if sign and value.lower() not in _BOOLEANS:
            raise BadUsage(f'invalid argument "{value}" for "{flag}" flag: not a boolean')
        values.setdefault(name, []).append("true" if not sign or _BOOLEANS[value.lower()] else "false")
        return at
    if not sign:
        if at >= len(words):
            raise BadUsage(f"flag needs an argument: {flag}")
        value = words[at]
        at += 1
    values.setdefault(name, []).append(value)
    return at


def _short(
    word: str, words: list[str], at: int, table: dict[str, tuple[str, bool]], values: Values, command: str
) -> int:
    rest = word[1:]
    while rest:
        flag, rest = f"-{rest[0]}", rest[1:]
        if flag not in table:
            raise BadUsage(
                f"unknown shorthand flag: '{flag[1]}' in {word}\n\nSee 'berth compose {command} --help'.".replace(
                    "  ", " "
                )
            )
        name, takes = table[flag]
        if not takes:
            values.setdefault(name, []).append("true")
            continue
        if not rest:
            if at >= len(words):
                raise BadUsage(f"flag needs an argument: '{flag[1]}' in {word}")
            rest = words[at]
            at += 1
        values.setdefault(name, []).append(rest.removeprefix("="))
        rest = ""
    return at


def usage(name: str = "") -> str:
    """Return the help text of the whole, or of one command."""
    if not name:
        width = max(len(key) for key in COMMANDS)
        listed = "\n".join(
            f"  {key.ljust(width)}  {command.summary}" for key, command in sorted(COMMANDS.items()) if key != "convert"
        )
        return (
            "Usage:  berth compose [OPTIONS] COMMAND\n\nDefine and run applications of several containers\n\n"
            f"Options:\n{_options(GLOBAL)}\n\nCommands:\n{listed}\n"
        )
    command = COMMANDS[name]
    options = f"\n\nOptions:\n{_options(command.flags)}" if command.flags else ""
    return f"Usage:  berth compose {name} [OPTIONS] {command.arguments}\n\n{command.summary}{options}\n"


def _options(flags: str) -> str:
    lines = []
    for word in sorted(flags.split()):
        name, _, letter = word.rstrip("=").partition("/")
        lines.append(f"  {f'-{letter},' if letter else '   '} --{name}{' value' if word.endswith('=') else ''}")
    return "\n".join(lines)
