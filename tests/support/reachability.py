"""Who is to reach whom, and how it is asked: by packets from place to place.

A place is a network namespace: the host, a remote host on a cable, or a container on one kind of network. A row reaches
the columns marked: `+` by all three protocols, `p` by ping only, `.` not at all. `-` is a pair that no kernel at hand
can show: that in which the rest is shown has no ipvlan, and that which has it knows no rules of ours.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

PROBER: Final = Path(__file__).parent / "prober.py"
PROTOCOLS: Final = ("tcp", "udp", "icmp")

#   host     the host; the address asked is that of its cable     internal…  two containers, --internal
#   remote   the host at the other end; its way back is the host  isolated…  two containers, gateway mode isolated
#   bridge…  two containers on the default network                routed     a container, gateway mode routed
#   red…     two containers on a user network; blue: on another   macvlan    a container, parent is the cable
#   hostmode a container with the host's own network              none       a container without any
#   l2…      two containers, ipvlan of mode l2 on the cable       l3, l3far  two, mode l3, in its two subnets
# The remote host is no router. A cable is one kind's only, and one mode's: beside ipvlan, macvlan has another cable to
# the remote host, and another subnet; l2 and l3 are never there together.
TABLE_4: Final = """
           host  remote  bridge  bridge2  red  red2  blue  internal  internal2  isolated  isolated2  routed  macvlan  l2  l22  l3  l3far
host       +     +       +       +        +    +     +     +         +          .         .          +       .        .   .    .   .
remote     +     +       .       .        .    .     .     .         .          .         .          p       +        +   +    +   +
hostmode   +     +       +       +        +    +     +     +         +          .         .          +       .        .   .    .   .
none       .     .       .       .        .    .     .     .         .          .         .          .       .        .   .    .   .
bridge     +     +       +       +        .    .     .     .         .          .         .          p       .        -   -    -   -
red        +     +       .       .        +    +     .     .         .          .         .          p       .        -   -    -   -
blue       +     +       .       .        .    .     +     .         .          .         .          p       .        -   -    -   -
internal   .     .       .       .        .    .     .     +         +          .         .          .       .        .   .    .   .
isolated   .     .       .       .        .    .     .     .         .          +         +          .       .        .   .    .   .
routed     +     +       .       .        .    .     .     .         .          .         .          +       .        .   .    .   .
macvlan    .     +       .       .        .    .     .     .         .          .         .          .       +        .   .    .   .
l2         .     +       -       -        -    -     -     .         .          .         .          .       .        +   +    -   -
l3         .     +       -       -        -    -     -     .         .          .         .          .       .        -   -    +   +
"""  # noqa: E501  a table
TABLE_6: Final = """
           host  remote  red  red2  blue  internal  internal2  isolated  isolated2  routed  macvlan  l2  l22  l3  l3far
host       +     +       +    +     +     +         +          .         .          +       .        .   .    .   .
remote     +     +       .    .     .     .         .          .         .          p       +        +   +    +   +
hostmode   +     +       +    +     +     +         +          .         .          +       .        .   .    .   .
none       .     .       .    .     .     .         .          .         .          .       .        .   .    .   .
bridge     .     .       .    .     .     .         .          .         .          .       .        -   -    -   -
red        +     +       +    +     .     .         .          .         .          p       .        -   -    -   -
blue       +     +       .    .     +     .         .          .         .          p       .        -   -    -   -
internal   .     .       .    .     .     +         +          .         .          .       .        .   .    .   .
isolated   .     .       .    .     .     .         .          +         +          .       .        .   .    .   .
routed     +     +       .    .     .     .         .          .         .          +       .        .   .    .   .
macvlan    .     +       .    .     .     .         .          .         .          .       +        .   .    .   .
l2         .     +       -    -     -     .         .          .         .          .       .        +   +    -   -
l3         .     +       -    -     -     .         .          .         .          .       .        -   -    +   +
"""


def _parsed(table: str) -> dict[tuple[str, str], str]:
    head, *rows = [line.split() for line in table.strip().splitlines()]
    return {(row[0], to): cell for row in rows for to, cell in zip(head, row[1:], strict=True)}


EXPECTED: Final = {4: _parsed(TABLE_4), 6: _parsed(TABLE_6)}


class Prober:
    """One prober process in a place."""

    def __init__(self, inside: list[str], port: int) -> None:
        self.process = subprocess.Popen(
            [*inside, sys.executable, "-IS", str(PROBER), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def ask(self, questions: list[tuple[str, str, int]]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(questions).encode() + b"\n")
        self.process.stdin.flush()

    def answered(self) -> set[int]:
        assert self.process.stdout is not None
        return set(json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


#: IP version, from, to.
Pair = tuple[int, str, str]


class Places:
    """Where one is asked from and what is asked for: a prober in each."""

    def __init__(self) -> None:
        self.probers: dict[str, Prober] = {}
        self._addresses: dict[tuple[str, int], str] = {}
        self._ports: dict[str, int] = {}

    def add(self, name: str, inside: list[str], four: str, six: str) -> None:
        """Put a prober into a place that has these addresses, empty for none."""
        self._ports[name] = 7000 + len(self._ports)
        self.probers[name] = Prober(inside, self._ports[name])
        self._addresses |= {(name, 4): four, (name, 6): six}

    def look(self, pairs: Iterable[Pair], expected: Callable[[Pair], str]) -> dict[Pair, str]:
        """Return the cell of every pair, blank where there is no address to ask for.

        What is expected to answer and does not is asked again, twice.
        """
        found: dict[tuple[Pair, str], bool] = {}
        pairs = [pair for pair in pairs if self._addresses[pair[2], pair[0]]]
        wanted = [(pair, protocol) for pair in pairs for protocol in PROTOCOLS]
        for _ in range(3):
            self._round(wanted, found)
            wanted = [one for one in wanted if not found[one] and _should(expected(one[0]), one[1])]
        return {pair: _cell([found[pair, protocol] for protocol in PROTOCOLS]) for pair in pairs}

    def _round(self, wanted: list[tuple[Pair, str]], found: dict[tuple[Pair, str], bool]) -> None:
        by_start: dict[str, list[tuple[Pair, str]]] = {}
        for one in wanted:
            by_start.setdefault(one[0][1], []).append(one)
        for start, asked in by_start.items():
            self.probers[start].ask(
                [(protocol, self._addresses[end, version], self._ports[end]) for (version, _, end), protocol in asked]
            )
        for start, asked in by_start.items():
            answered = self.probers[start].answered()
            found |= {one: number in answered for number, one in enumerate(asked)}

    def close(self) -> None:
        """End every prober."""
        for prober in self.probers.values():
            prober.close()


def _should(cell: str, protocol: str) -> bool:
    return cell == "+" or (cell == "p" and protocol == "icmp")


def _cell(answers: list[bool]) -> str:
    told = {(True, True, True): "+", (False, False, True): "p", (False, False, False): "."}
    return told.get(tuple(answers), "".join(str(int(one)) for one in answers))


def differences(found: Mapping[Pair, str], expected: Callable[[Pair], str]) -> list[str]:
    """Say which cells are not as they should be."""
    return [
        f"IPv{version} {start} → {end}: {cell!r}, not {expected((version, start, end))!r}"
        for (version, start, end), cell in found.items()
        if cell != expected((version, start, end))
    ]
