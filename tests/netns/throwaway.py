"""Runs a test in a child process with network and mount namespaces of its own: nothing of it reaches the machine."""

import asyncio
import ctypes
import functools
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final

from berth.kernel import link, netlink, nft
from berth.kernel.libc import LIBC, check
from berth.kernel.mount import mount
from berth.kernel.mountflags import MS_PRIVATE, MS_REC

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWNET: Final = 0x4000_0000
#: Seconds after which a test's child is ended.
LIMIT_S: Final = 240


def isolated(test: Callable[..., object]) -> Callable[..., None]:
    """Run a test, async or not, in a forked child that has namespaces of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        said, tell = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            os.close(said)
            _child(test, args, kwargs, tell)
        os.close(tell)
        report = b""
        with open(said, "rb") as pipe:
            report = pipe.read()
        _, status = os.waitpid(child, 0)
        text = report.decode(errors="replace")
        assert os.waitstatus_to_exitcode(status) == 0, text or f"ended with status {status}"

    del run.__wrapped__  # pytest must see the test's fixtures, not a coroutine
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]
    return run


def _child(test: Callable[..., object], args: Any, kwargs: Any, tell: int) -> None:
    status = 1
    signal.alarm(LIMIT_S)
    try:
        check(LIBC.unshare(ctypes.c_int(CLONE_NEWNET | CLONE_NEWNS)), "unshare")
        mount("", "/", flags=MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc")
        mount("sysfs", "/sys", "sysfs")
        link.host.cache_clear()
        nft.host.cache_clear()
        with netlink.RouteSocket() as route:
            route.send(netlink.set_up("lo"))
        if inspect.iscoroutinefunction(test):
            asyncio.run(test(*args, **kwargs))
        else:
            test(*args, **kwargs)
        status = 0
    except BaseException:
        os.write(tell, traceback.format_exc().encode()[-60_000:])
    finally:
        os._exit(status)
