"""The one place that knows both the kinds of errors and HTTP's statuses."""

import os
from http import HTTPStatus
from typing import Final

from berth.base.errors import EngineError, Kind

STATUS: Final[dict[Kind, HTTPStatus]] = {
    Kind.INVALID: HTTPStatus.BAD_REQUEST,
    Kind.UNAUTHORISED: HTTPStatus.UNAUTHORIZED,
    Kind.FORBIDDEN: HTTPStatus.FORBIDDEN,
    Kind.NOT_FOUND: HTTPStatus.NOT_FOUND,
    Kind.CONFLICT: HTTPStatus.CONFLICT,
    Kind.NOT_MODIFIED: HTTPStatus.NOT_MODIFIED,
    Kind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.NOT_IMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    Kind.SYSTEM: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def to_response(exc: BaseException) -> tuple[HTTPStatus, dict[str, str]]:
    """Return status and body for an error; several at once are joined and take the first one's kind."""
    flat = leaves(exc)
    first = flat[0]
    kind = first.kind if isinstance(first, EngineError) else Kind.SYSTEM
    said = dict.fromkeys(_printable(_words(one)) for one in flat)
    return STATUS[kind], {"message": "\n".join(said)}


def _words(exc: BaseException) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        where = f"{os.fsdecode(exc.filename)}: " if isinstance(exc.filename, str | bytes) else ""
        return where + exc.strerror[:1].lower() + exc.strerror[1:]
    return str(exc) or type(exc).__name__


def _printable(words: str) -> str:
    """Return words that can be sent, whatever bytes a file's name in them has."""
    return words.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def leaves(exc: BaseException) -> list[BaseException]:
    """Return the single errors an `ExceptionGroup` holds, the engine's own first."""
    if not isinstance(exc, BaseExceptionGroup):
        return [exc]
    found = [leaf for inner in exc.exceptions for leaf in leaves(inner)]
    return sorted(found, key=lambda one: not isinstance(one, EngineError))
