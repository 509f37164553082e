"""`berth network tap`: the packets of a container, without a program in its image."""

from __future__ import annotations

import sys
import time

from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from berth.cli.session import Session
    from berth.client.http import Response
    from berth.wire.pcap import Record


def line_of(record: Record) -> str:
    """Print a packet: local time to the microsecond, then what it is."""
    from berth.wire.packets import decode

    clock = time.strftime("%H:%M:%S", time.localtime(record.time_ns // 1_000_000_000))
    return f"{clock}.{record.time_ns // 1000 % 1_000_000:06} {decode(record.data, record.length).line}"


def _tap(session: Session, parsed: Parsed) -> None:
    if parsed.number("count") < 0:
        raise CommandFailed("--count is 0 or more")
    query = {
        "container": parsed.args[0],
        "link": parsed.text("interface") or None,
        "count": parsed.number("count") or None,
        "snap": parsed.number("snapshot-length") or None,
        "filter": " ".join((parsed.text("filter"), *parsed.args[1:])).strip() or None,
    }
    answer = session.client.stream("GET", "/berth/networks/tap", query)
    seen = 0
    target = parsed.text("write")
    try:
        if target == "-":
            seen = _copied(answer, sys.stdout.buffer)
        elif target:
            with open(target, "wb") as out:
                seen = _copied(answer, out)
        else:
            seen = _printed(session, answer)
    except KeyboardInterrupt:
        seen = -1
    finally:
        answer.close()
    if target and target != "-" and seen >= 0:
        session.warn(f"{seen} packets written to {target}")


def _copied(answer: Response, out: IO[bytes]) -> int:
    """Write the capture as it comes; count its packets."""
    from berth.wire.pcap import records

    def passing() -> Iterator[bytes]:
        for chunk in answer.chunks():
            out.write(chunk)
            out.flush()
            yield chunk

    return len([record.length for record in records(passing())])


def _printed(session: Session, answer: Response) -> int:
    from berth.wire.pcap import records

    count = 0
    for record in records(answer.chunks()):
        session.line(line_of(record))
        sys.stdout.flush()
        count += 1
    return count


TAP = Command(
    "[OPTIONS] CONTAINER [FILTER...]",
    _tap,
    (
        Flag("write", "w", "string", "Write the packets to this file, for tcpdump or Wireshark ('-': standard output)"),
        Flag("count", "c", "int", "End after so many packets"),
        Flag("filter", "", "string", "Only packets that fit, e.g. 'tcp port 80 and not host 10.0.0.1'"),
        Flag("interface", "i", "string", "One link of the container, or 'any'"),
        Flag("snapshot-length", "s", "int", "Bytes of each packet that are kept"),
    ),
    least=1,
    most=None,
    long=(
        "Show the packets of a running container as they pass, with nothing installed in its image. Of the loopback "
        "only questions about names are shown unless it is named: -i lo, -i any."
    ),
)
