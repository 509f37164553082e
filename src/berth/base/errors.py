"""The one error tree of the engine.

    EngineError (kind)
    ├── InvalidArgument     invalid          400
    ├── NotFound            not found        404
    ├── Conflict            conflict         409
    ├── Forbidden           forbidden        403
    ├── NotModified         not modified     304
    ├── Unavailable         unavailable      503
    ├── NotImplementedYet   not implemented  501
    └── SystemFault         system           500

Nouns derive their own errors from these and name them for the fact. This module knows no HTTP
statuses as numbers: `berth.api.errors` holds the only table.
"""

from __future__ import annotations

from enum import Enum

TYPE_CHECKING = (
    False  # programs that import this are started all the time: `typing` takes longer than all of their work
)
if TYPE_CHECKING:
    from typing import ClassVar


class Kind(Enum):
    """What went wrong, seen by the caller. Closed: `berth.api.errors.STATUS` covers every member."""

    INVALID = "invalid"
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not found"
    CONFLICT = "conflict"
    NOT_MODIFIED = "not modified"
    UNAVAILABLE = "unavailable"
    NOT_IMPLEMENTED = "not implemented"
    SYSTEM = "system"


class EngineError(Exception):
    """An error with a kind and a message fit for the user.

    The message and the kind are compatibility: Docker's clients choose behaviour by both.
    """

    kind: ClassVar[Kind] = Kind.SYSTEM


class InvalidArgument(EngineError):
    """The request itself is wrong."""

    kind = Kind.INVALID


class Unauthorised(EngineError):
    """Credentials are missing or were refused."""

    kind = Kind.UNAUTHORISED


class Forbidden(EngineError):
    """The request is understood and never allowed in this state."""

    kind = Kind.FORBIDDEN


class NotFound(EngineError):
    """What was named does not exist."""

    kind = Kind.NOT_FOUND


class Conflict(EngineError):
    """Another object or a state stands in the way."""

    kind = Kind.CONFLICT


class NotModified(EngineError):
    """It is already as asked for."""

    kind = Kind.NOT_MODIFIED


class Unavailable(EngineError):
    """It cannot be served now, perhaps later."""

    kind = Kind.UNAVAILABLE


class NotImplementedYet(EngineError):
    """The engine does not do this."""

    kind = Kind.NOT_IMPLEMENTED


class SystemFault(EngineError):
    """The machine, or a part the engine drives, failed."""

    kind = Kind.SYSTEM
