"""`berth compose`: from the words of the command line to an exit code.

0 all is well · 1 the files, the command line or the engine say no · 130 interrupted · the command's own code for run,
exec and
--exit-code-from.
"""

import sys
from importlib import import_module

from berth.client.errors import ClientError
from berth.compose import arguments
from berth.compose.errors import BadUsage, ComposeFault
from berth.compose.session import Session


def main(argv: list[str], host: str) -> int:
    """Run one command against the engine at `host` and return its exit code."""
    try:
        return _dispatch(argv, host)
    except ComposeFault as error:
        print(str(error), file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"Error response from daemon: {error}" if hasattr(error, "status") else str(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("canceled", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def _dispatch(argv: list[str], host: str) -> int:
    options = arguments.parse(argv, arguments.GLOBAL, strict=True, command="")
    words = options.arguments
    if options.has("version") and not words:
        words = ["version"]
    if not words or (options.has("help") and not words):
        print(arguments.usage(), end="")
        return 0
    name, rest = words[0], words[1:]
    if name == "help":
        wanted = rest[0] if rest and rest[0] in arguments.COMMANDS else ""
        print(arguments.usage(wanted), end="")
        return 0
    command = arguments.COMMANDS.get(name)
    if command is None:
        raise BadUsage(f"unknown docker command: \"compose {name}\"\n\nSee 'berth compose --help'.")
    flags = arguments.parse(rest, command.flags, strict=command.strict, command=name)
    if flags.has("help"):
        print(arguments.usage(name), end="")
        return 0
    module = import_module(f"berth.compose.commands.{command.module}")
    code: int = getattr(module, command.function)(Session(options, host), flags)
    return code
