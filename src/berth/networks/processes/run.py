"""The start and end of a small process: arguments, limits, signals, its loop. Must not: know what it does."""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from berth.base import log as logs
from berth.kernel.lowfiles import open_as_many_as_may_be
from berth.networks.processes.control import ControlSocket, Language, R, listen
from berth.networks.processes.loop import Loop

log = logging.getLogger(__name__)

#: How long a process without work and without a daemon stays, seconds.
IDLE_S: Final = 30.0


def run(prog: str, description: str, make: Callable[[Loop], Language[R]], argv: Sequence[str] | None) -> int:
    """Run a process that is told through ``--socket`` what to do; returns its exit status.

    Started twice, the second one leaves at once.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--socket", type=Path, required=True, help="control socket to make")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warn", "error", "fatal"))
    parser.add_argument("--idle", type=float, default=IDLE_S, help="seconds to stay without anything to do")
    options = parser.parse_args(argv)
    logs.set_up(options.log_level)
    listener = listen(options.socket)
    if listener is None:
        return 0
    open_as_many_as_may_be()
    # A wait for events begins anew after a signal's handler has returned: only an exception ends it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop = Loop()
    control = ControlSocket(loop, listener, make(loop), idle_s=options.idle)
    log.info("%s is told through %s", prog, options.socket)
    try:
        loop.run()
    finally:
        options.socket.unlink(missing_ok=True)
        control.close()
    return 0
