"""Follows one container from the user's terminal: attach, wait for its end, resize, pass signals on."""

from __future__ import annotations

import os
import signal

from berth.cli.errors import CommandFailed
from berth.cli.streams import Detached, Pump, RawTerminal, Signals, StreamError, window_size
from berth.client.errors import ApiError, ClientError
from berth.client.http import part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from berth.client.http import Client, Hijacked, Response

#: As many interrupts in a row end us though the container does not end.
_PATIENCE = 3


def attach(client: Client, container: str, streams: Sequence[str], detach_keys: str, *, logs: bool = False) -> Hijacked:
    """Take a container's streams over."""
    query: dict[str, object] = {"stream": True}
    query |= dict.fromkeys(streams, True)
    if detach_keys:
        query["detachKeys"] = detach_keys
    if logs:
        query["logs"] = True
    return client.hijack("POST", f"/containers/{part(container)}/attach", query, headers={"Content-Type": "text/plain"})


def begin_wait(client: Client, container: str, condition: str) -> Response:
    """Ask for a container's end before it starts; the engine answers the head at once and the result at the end."""
    return client.clone().stream("POST", f"/containers/{part(container)}/wait", {"condition": condition})


def exit_status(waiting: Response) -> int:
    """Return what the container ended with."""
    try:
        answer = waiting.decoded()
    except ClientError:
        return 125
    if not isinstance(answer, dict):
        return 125
    problem = (answer.get("Error") or {}).get("Message")
    if problem:
        raise CommandFailed(f"Error waiting for container: {problem}", 125)
    return int(answer["StatusCode"])


def follow(
    link: Hijacked,
    *,
    stdin: bool,
    tty: bool,
    detach_keys: bytes,
    proxy: Callable[[int], None] | None,
    resize: Callable[[], None] | None,
) -> bool:
    """Show a container's output and feed it until its streams end.

    Args:
        link: The container's streams.
        stdin: Whether our input goes to it.
        tty: Whether the streams are a terminal's.
        detach_keys: What ends the following and not the container.
        proxy: Passes a signal on; None leaves signals what they are.
        resize: Tells the engine the size of our terminal; called at once and at every change.

    Returns:
        False if the user detached.
    """
    from berth.cli.streams import FORWARDED

    names = [*(FORWARDED if proxy else ()), *(("SIGWINCH",) if resize else ())]

    def on_signal(number: int) -> None:
        if number == signal.SIGWINCH:
            if resize:
                resize()
        elif proxy:
            proxy(number)

    try:
        with Signals(names) as signals, RawTerminal(on=tty and stdin):
            if resize:
                resize()
            Pump(
                link,
                stdin=stdin,
                tty=tty,
                detach_keys=detach_keys,
                signals=signals if names else None,
                on_signal=on_signal,
            ).run()
    except Detached:
        return False
    except StreamError as error:
        raise CommandFailed(str(error)) from None
    finally:
        link.close()
    return True


def signal_proxy(client: Client, container: str) -> Callable[[int], None]:
    """Return what passes signals on to a container."""
    own = client.clone()
    interrupts = 0

    def proxy(number: int) -> None:
        nonlocal interrupts
        if number in (signal.SIGINT, signal.SIGTERM):
            interrupts += 1
            if interrupts > _PATIENCE:
                os._exit(1)
        try:
            own.post(f"/containers/{part(container)}/kill", {"signal": signal.Signals(number).name[3:]})
        except ApiError:
            pass  # it has ended in this very moment

    return proxy


def resizer(client: Client, path: str, *, redraw: bool = False) -> Callable[[], None] | None:
    """Return what tells the engine our terminal's size; None if we have no terminal.

    Args:
        client: Whose engine is told.
        path: ``/containers/ID`` or ``/exec/ID``.
        redraw: Say another size first, so that a program that runs already draws itself anew.
    """
    if window_size() is None:
        return None
    own = client.clone()
    detours = [1] if redraw else []

    def resize() -> None:
        size = window_size()
        if not size or size == (0, 0):
            return
        try:
            if detours:
                more = detours.pop()
                own.post(f"{path}/resize", {"h": size[0] + more, "w": size[1] + more})
            own.post(f"{path}/resize", {"h": size[0], "w": size[1]})
        except ApiError:
            pass  # not started yet, or over already: neither is worth a word

    return resize
