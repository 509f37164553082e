"""The multiplexed stream: each piece of output after an 8-byte header that says which stream and how long. Pure."""

import struct
from collections.abc import Iterator
from typing import Final

from berth.base.errors import InvalidArgument

STDIN: Final = 0
STDOUT: Final = 1
STDERR: Final = 2
#: An error of the engine itself, in band; clients print it and stop.
SYSTEM_ERROR: Final = 3

_HEADER: Final = struct.Struct(">BxxxI")
#: Bytes before each piece.
HEADER_BYTES: Final = _HEADER.size


class BadFrame(InvalidArgument):
    """What came is no multiplexed stream."""


def frame(stream: int, data: bytes) -> bytes:
    """Put the header for `stream` before `data`."""
    return _HEADER.pack(stream, len(data)) + data


class Frames:
    """Takes bytes as they come and gives back whole frames; keeps what is incomplete."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, data) for each frame that is complete now. Raises `BadFrame`."""
        self._rest += data
        while len(self._rest) >= HEADER_BYTES:
            stream, length = _HEADER.unpack_from(self._rest)
            if stream > SYSTEM_ERROR:
                raise BadFrame(f"Unrecognized stream: {stream}")
            end = HEADER_BYTES + length
            if len(self._rest) < end:
                return
            piece = bytes(self._rest[HEADER_BYTES:end])
            del self._rest[:end]
            yield stream, piece

    @property
    def pending(self) -> int:
        """How many bytes of an unfinished frame are held."""
        return len(self._rest)
