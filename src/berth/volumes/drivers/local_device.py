"""The local driver's own mounts, made: addresses resolved, servers asked for, the kernel's refusals explained.

Everything but tmpfs is mounted by a helper process with a time limit. Must not: know records or holders.
"""

import asyncio
import contextlib
import os
import socket
from typing import Final

from berth.base.aio import in_thread
from berth.base.errors import NotFound
from berth.kernel import foreign
from berth.kernel import mount as kernel_mount
from berth.volumes.drivers import local_mounts
from berth.volumes.errors import MountOfVolumeFailed
from berth.volumes.mounts.away import Limits
from berth.volumes.options import LocalOptions

#: How long a server may take to accept a connection, in seconds: a lost first packet is sent again after one and three.
_PROBE_LIMIT_S: Final = 5.0


class _Unreachable(NotFound):
    """The server of a volume has no address, or nothing answers there."""


async def mount(options: LocalOptions, target: str, limits: Limits) -> None:
    """Mount what `options` say at `target`. Raises `MountOfVolumeFailed`."""
    try:
        address = await _resolved(local_mounts.server_name(options))
        if options.networked:
            await _check_reachable(options, address)
        for call in local_mounts.mount_calls(options, target, address):
            await _mount(options, call, limits)
    except foreign.ForeignMountFailed as exc:
        reason = local_mounts.explained(options, exc.reason)
        raise MountOfVolumeFailed(target, local_mounts.failed_text(options, target, reason)) from exc
    except _Unreachable as exc:
        raise MountOfVolumeFailed(target, str(exc)) from exc


async def _mount(options: LocalOptions, call: local_mounts.MountCall, limits: Limits) -> None:
    if options.type != "tmpfs":
        await foreign.mount(*call, timeout_s=limits.mount_s, loop=local_mounts.wants_loop(options))
        return
    try:
        await in_thread(kernel_mount.mount, *call)
    except kernel_mount.MountFailed as exc:
        raise foreign.ForeignMountFailed(exc.reason.lower()) from exc


async def _resolved(host: str) -> str:
    """Return the address of a server; the kernel's file systems take no names."""
    if not host:
        return ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise _Unreachable(f"error resolving passed in network volume address: lookup {host}: {reason}") from exc
    return str(found[0][4][0])


async def _check_reachable(options: LocalOptions, address: str) -> None:
    """Raise before a mount that would wait for minutes for a server that is not there."""
    port = local_mounts.tcp_port(options)
    if not address or not port:
        return
    if not await in_thread(kernel_mount.knows_type, options.type):
        return  # mount(2) says so at once, and that is the better reason
    try:
        async with asyncio.timeout(_PROBE_LIMIT_S):
            _, writer = await asyncio.open_connection(address, port)
    except TimeoutError:
        reason = f"no answer within {_PROBE_LIMIT_S:g} s"
    except OSError as exc:
        reason = os.strerror(exc.errno).lower() if exc.errno else str(exc)
    else:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    raise _Unreachable(
        f"the server {local_mounts.server_name(options)} ({address}) cannot be reached on port {port}: {reason}; "
        "is it up, and does a firewall let this machine through?"
    )
