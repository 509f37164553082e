"""Entry point of `berth`: global flags, which command, what its failure looks like."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # no stub; `signal` around it costs a millisecond
import os
import sys

from berth.cli import tree
from berth.cli.errors import CommandFailed, HelpWanted, UsageError
from berth.cli.flags import Flag, Parsed, parse
from berth.cli.session import Session
from berth.client.errors import ApiError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

PROGRAM = "berth"

#: Status after Ctrl-C.
_INTERRUPTED = 130
#: Status of a command whose reader has gone: what a shell shows of one that SIGPIPE ended, as it ends Docker's client.
_PIPE = 141

GLOBAL_FLAGS = (
    Flag("config", "", "string", "Location of client config files", shown='"~/.docker"'),
    Flag("context", "c", "string", "Name of the context to use to connect to the daemon", hidden=True),
    Flag("debug", "D", "bool", "Enable debug mode"),
    Flag("host", "H", "list", "Daemon socket to connect to", shown='"unix:///run/berth/berth.sock"'),
    Flag(
        "log-level",
        "l",
        "string",
        'Set the logging level ("debug", "info", "warn", "error", "fatal")',
        default="info",
    ),
    Flag("tls", "", "bool", "Use TLS; implied by --tlsverify"),
    Flag("tlsverify", "", "bool", "Use TLS and verify the remote"),
    Flag("version", "v", "bool", "Print version information and quit"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status.

    Called without arguments it is the process's own main: it then leaves at once, without taking the interpreter down
    piece by piece, which would cost more than most commands do.
    """
    if arguments is not None:
        return _guarded(arguments)
    sys.excepthook = _last_word
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        # As Docker's client: always UTF-8, and bytes that are none pass through.
        stream.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]
    status = _guarded(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        status = status or _PIPE
    except OSError as error:
        if not status:
            status = _unwritten(error)
    os._exit(status)


def _last_word(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what nobody caught; of Ctrl-C in the middle of a clean-up there is nothing to say."""
    if issubclass(kind, KeyboardInterrupt):
        os._exit(_INTERRUPTED)
    sys.__excepthook__(kind, error, trace)


def _open_closed() -> None:
    """Let a stream that was closed before lead nowhere, instead of into the next file that is opened."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, os.O_RDWR)
            if place != fd:
                os.dup2(place, fd, inheritable=True)
                os.close(place)
            setattr(sys, name, open(fd, "w" if fd else "r", closefd=False))  # noqa: SIM115  open to the end


def _unwritten(error: OSError) -> int:
    """Say that a file, or the output, could not be read or written."""
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "write"
    try:
        sys.stderr.write(f"{where}: {(error.strerror or str(error)).lower()}\n")
        sys.stderr.flush()
    except OSError:
        return 1  # nobody is left to tell
    return 1


def _guarded(arguments: Sequence[str]) -> int:
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # as scripts/launcher had it end us at once
        return dispatch(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing more to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _PIPE
    except OSError as error:
        return _unwritten(error)


def dispatch(arguments: Sequence[str]) -> int:
    """Find the command and run it; every failure is printed here."""
    try:
        top = parse(arguments, GLOBAL_FLAGS, interspersed=False)
    except HelpWanted:
        sys.stdout.write(front_page())
        return 0
    except UsageError as error:
        return _complain(
            f"{error}\n\nUsage:  {PROGRAM} [OPTIONS] COMMAND [ARG...]\n\nRun '{PROGRAM} --help' for more information",
            error.status,
        )
    if top.flag("version"):
        from berth import VERSION

        sys.stdout.write(f"Berth version {VERSION}\n")
        return 0
    words = top.args
    if not words:
        sys.stderr.write(front_page())
        return 0
    if words[0] == "help":
        words = [*words[1:], "--help"]
    if words[0] in tree.GROUPS:
        return _group(words, top)
    if words[0].startswith("-"):
        sys.stdout.write(front_page())
        return 0
    target = tree.target_of((words[0],))
    if target is None and words[0] in tree.ABSENT:
        return _complain(f"{PROGRAM}: {words[0]} is a command of Docker's that is not here: {tree.ABSENT[words[0]]}", 1)
    if target is None:
        return _complain(
            f"{PROGRAM}: unknown command: {PROGRAM} {words[0]}\n\nRun '{PROGRAM} --help' for more information", 1
        )
    return _command((words[0],), target, words[1:], top)


def _group(words: list[str], top: Parsed) -> int:
    group = words[0]
    short, entries = tree.GROUPS[group]
    path = f"{PROGRAM} {group}"
    if len(words) == 1 or words[1] in ("--help", "-h", "help"):
        from berth.cli.helptext import group_page

        out = sys.stderr if len(words) == 1 else sys.stdout
        out.write(group_page(path, short, {name: entry[0] for name, entry in sorted(entries.items())}))
        return 0
    if words[1].startswith("-"):
        kind = f"flag: {words[1]}" if words[1].startswith("--") else f"shorthand flag: '{words[1][1]}' in {words[1]}"
        return _complain(f"unknown {kind}\n\nUsage:  {path} COMMAND\n\nRun '{path} --help' for more information", 125)
    if len(words) > 2 and f"{words[1]} {words[2]}" in entries:
        words = [group, f"{words[1]} {words[2]}", *words[3:]]
    target = tree.target_of((group, words[1]))
    if target is None:
        return _complain(
            f"{PROGRAM}: unknown command: {path} {words[1]}\n\n"
            f"Usage:  {path}{' COMMAND' if group == 'volume' else ''}\n\nRun '{path} --help' for more information",
            1,
        )
    return _command((group, words[1]), target, words[2:], top)


def _command(path: tuple[str, ...], target: str, arguments: list[str], top: Parsed) -> int:
    command = tree.load(target)
    called = " ".join((PROGRAM, *path))
    hosts = top.list("host")
    session = Session(hosts[-1] if hosts else None, called, top.text("config") or None)
    try:
        if command.raw:
            parsed = Parsed({})
            parsed.args = arguments
        else:
            parsed = parse(arguments, command.flags, interspersed=command.interspersed)
            command.check_arguments(called, len(parsed.args))
        return command.run(session, parsed) or 0
    except HelpWanted:
        from berth.cli.helptext import command_page

        text = command.long or (tree.short_of(path[0]) if len(path) == 1 else _entry_text(path[0], path[1]))
        names = [f"{PROGRAM} {name}" for name in tree.names_of(path)]
        sys.stdout.write(command_page(called, command.usage, text, names, command.flags))
        return 0
    except UsageError as error:
        from berth.cli.helptext import usage_line

        text = error.message if error.status == 125 else f"{PROGRAM}: {error.message}"
        return _complain(
            f"{text}\n\nUsage:  {usage_line(called, command.usage)}\n\n"
            f"{error.verb} '{called} --help' for more information",
            error.status,
        )
    except CommandFailed as error:
        return _complain(error.message, error.status)
    except ApiError as error:
        return _complain(f"Error response from daemon: {error.message}", 1)
    except ClientError as error:
        return _complain(str(error), 1)


def _entry_text(group: str, name: str) -> str:
    real = tree.OTHER_NAMES.get(group, {}).get(name, name)
    return tree.GROUPS[group][1][real][0]


def _complain(text: str, status: int) -> int:
    sys.stdout.flush()
    if text:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    return status


def front_page() -> str:
    """Print what `berth --help` prints."""
    from berth.cli.helptext import flag_table, listing

    rest = sorted(name for name in (*tree.SHORT, *tree.OWN) if name not in tree.COMMON and not name.startswith("_"))
    return (
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND\n\n"
        "A container engine whose heart is networks and persistent data\n\n"
        f"Common Commands:\n{listing({name: tree.short_of(name) for name in tree.COMMON})}\n"
        f"Management Commands:\n{listing({name: short for name, (short, _) in tree.GROUPS.items()})}\n"
        f"Commands:\n{listing({name: tree.short_of(name) for name in rest})}\n"
        f"Global Options:\n{flag_table(GLOBAL_FLAGS)}\n"
        f"Run '{PROGRAM} COMMAND --help' for more information on a command.\n"
    )


if __name__ == "__main__":
    main()
