"""Carries out the step about limits of a link: the queueing disciplines tbf and netem. Must not: choose the limits.

A limit holds for what *leaves* by a link; of a pair, the end in the container limits what it sends and the end
outside what it receives.
"""

import contextlib
import errno
import struct
from collections.abc import Callable, Iterator
from typing import Final, cast

from berth.base.errors import SystemFault
from berth.kernel import link
from berth.kernel.netlink import (
    NLM_F_CREATE,
    NLM_F_REPLACE,
    Message,
    NetlinkError,
    RouteSocket,
    attribute,
    attributes,
    nested,
    text,
    u32,
)
from berth.plan.model import Step
from berth.plan.steps.shape import ShapeLink

# linux/rtnetlink.h
RTM_NEWQDISC: Final = 36
RTM_DELQDISC: Final = 37
RTM_GETQDISC: Final = 38
TCA_KIND: Final = 1
TCA_OPTIONS: Final = 2
# linux/pkt_sched.h
TC_H_ROOT: Final = 0xFFFF_FFFF
TCA_TBF_PARMS: Final = 1
TCA_TBF_RATE64: Final = 4
TCA_TBF_BURST: Final = 6
TC_LINKLAYER_ETHERNET: Final = 1
TCA_NETEM_LATENCY64: Final = 10
#: Handle of our netem, and the place below it for tbf.
NETEM: Final = 0x0001_0000
BELOW_NETEM: Final = 0x0001_0001
#: netem counts losses in parts of this (linux/pkt_sched.h, struct tc_netem_qopt).
NETEM_ALL: Final = 0xFFFF_FFFF
#: Packets that wait in netem at most: those of a second at 1.2 Gbit/s and full size.
NETEM_PACKETS: Final = 100_000

#: How much may leave at once, bytes: at least two packets of the size the kernel makes of many (GSO), or else it
#: has to cut each of them up; and what the rate allows in 10 ms, for timers are late by some.
LEAST_BURST: Final = 131_072
BURST_S: Final = 0.01
#: How long a packet may wait for its turn before others are dropped, seconds.
QUEUE_S: Final = 0.05
_FOUR_GIB: Final = 0xFFFF_FFFF

_HEAD: Final = struct.Struct("=BxxxiIII")
#: struct tc_ratespec twice, limit, buffer, mtu.
_TBF: Final = struct.Struct("=BBHhHI BBHhHI III")
_RATE: Final = struct.Struct("=BBHhHI")
#: latency, limit, loss, gap, duplicate, jitter.
_NETEM: Final = struct.Struct("=IIIIII")
_U64: Final = struct.Struct("=Q")
_U32: Final = struct.Struct("=I")


class ShapingUnavailable(SystemFault):
    """The kernel has no such queueing discipline."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(
            f"{what} needs the kernel module sch_{kind}, which this kernel does not have: "
            f"load it with 'modprobe sch_{kind}' or use a kernel that was built with it"
        )


def burst_of(rate: int) -> int:
    """Return how many bytes may leave at once at a rate of bytes a second."""
    return max(LEAST_BURST, int(rate * BURST_S))


def _tbf(index: int, rate: int, *, parent: int) -> Message:
    burst = burst_of(rate)
    limit = min(burst + int(rate * QUEUE_S), _FOUR_GIB)
    spec = (0, TC_LINKLAYER_ETHERNET, 0, 0, 0, min(rate, _FOUR_GIB))
    parts = attribute(TCA_TBF_PARMS, _TBF.pack(*spec, 0, 0, 0, 0, 0, 0, limit, 0, 0)) + u32(TCA_TBF_BURST, burst)
    if rate > _FOUR_GIB:
        parts += attribute(TCA_TBF_RATE64, _U64.pack(rate))
    body = _HEAD.pack(0, index, 0, parent, 0) + text(TCA_KIND, "tbf") + nested(TCA_OPTIONS, parts)
    return Message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"limit link {index} to {rate} bytes a second")


def _netem(index: int, delay_us: int, loss_ppm: int) -> Message:
    lost = loss_ppm * NETEM_ALL // 1_000_000
    # the old field counts in 64 ns and ends at 275 s; kernels since 4.15 read the new one
    head = _NETEM.pack(min(delay_us * 1000 >> 6, _FOUR_GIB), NETEM_PACKETS, lost, 0, 0, 0)
    options = attribute(TCA_OPTIONS, head + attribute(TCA_NETEM_LATENCY64, _U64.pack(delay_us * 1000)))
    body = _HEAD.pack(0, index, NETEM, TC_H_ROOT, 0) + text(TCA_KIND, "netem") + options
    return Message(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body, f"delay what leaves by link {index}")


def _none(index: int) -> Message:
    return Message(RTM_DELQDISC, 0, _HEAD.pack(0, index, 0, TC_H_ROOT, 0), f"limit link {index} no more")


@contextlib.contextmanager
def _socket(namespace: str) -> Iterator[RouteSocket]:
    if not namespace:
        yield link.host()
        return
    with link.inside(namespace) as there:
        yield there


def _send(there: RouteSocket, message: Message, kind: str, what: str) -> None:
    try:
        there.send(message)
    except NetlinkError as exc:
        if exc.number in (errno.ENOENT, errno.EOPNOTSUPP):
            raise ShapingUnavailable(kind, what) from exc
        raise


def _clear(there: RouteSocket, index: int) -> None:
    refused = there.try_send(_none(index))[0]
    if refused is not None and refused.number not in (errno.ENOENT, errno.EINVAL):  # there was no limit
        raise refused


def _apply(there: RouteSocket, index: int, rate: int, delay_us: int, loss_ppm: int) -> None:
    late = bool(delay_us or loss_ppm)
    if not rate or late:  # of several disciplines, the ones below go with the one above
        _clear(there, index)
    if late:
        _send(there, _netem(index, delay_us, loss_ppm), "netem", "a delay or loss")
    if rate:
        _send(there, _tbf(index, rate, parent=BELOW_NETEM if late else TC_H_ROOT), "tbf", "a rate limit")


def _shape(step: Step) -> Step | None:
    want = cast("ShapeLink", step)
    figures = (want.rate, want.delay_us, want.loss_ppm)
    with _socket(want.namespace) as there:
        index = there.index(want.link)
        try:
            _apply(there, index, *figures)
        except BaseException:
            with contextlib.suppress(SystemFault):
                _apply(there, index, *want.before)
            raise
    return ShapeLink(want.namespace, want.link, *want.before, before=figures)


def _undo_shape(step: Step) -> Step | None:
    want = cast("ShapeLink", step)
    return ShapeLink(want.namespace, want.link, *want.before)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {ShapeLink: _shape}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {ShapeLink: _undo_shape}


# -- questions --------------------------------------------------------------------------------------


def rate_of(route: RouteSocket, name: str) -> int:
    """Return the rate a link is limited to by a tbf of ours, bytes a second; 0 for none."""
    index = route.index(name)
    for body in route.dump(RTM_GETQDISC, _HEAD.pack(0, index, 0, 0, 0), "list queueing disciplines"):
        _, of, _, _, _ = _HEAD.unpack_from(body)
        attrs = attributes(body, _HEAD.size)
        if of != index or attrs.get(TCA_KIND, b"").rstrip(b"\0") != b"tbf":
            continue
        options = attributes(attrs.get(TCA_OPTIONS, b""))
        wide = options.get(TCA_TBF_RATE64)
        if wide:
            return int(_U64.unpack(wide)[0])
        return int(_RATE.unpack_from(options[TCA_TBF_PARMS])[5])
    return 0
