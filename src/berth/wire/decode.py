"""JSON bodies as Go reads them. Pure.

Null where a value is wanted means that nothing was said, in a list or map of texts an empty one; fields have their
names in any case.
"""

import re
from typing import Any, Final, TypeVar

import msgspec

from berth.wire import folding

T = TypeVar("T")

_NULL_AT: Final = re.compile(r"Expected `(?P<kind>[^`]*)`, got `null`(?: - at `(?P<path>[^`]*)`)?")
_PART: Final = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]|(?P<any>\[\.\.\.\])")
#: How many places may hold a null; more is no request of a client.
_MAX_NULLS: Final = 256


def strictly(raw: bytes, kind: type[T]) -> T:
    """Decode `raw` as it is. Raises `msgspec.DecodeError`, also where msgspec itself raises another: for no UTF-8."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except UnicodeDecodeError as exc:
        raise msgspec.DecodeError(f"JSON is malformed: {exc.reason} (byte {exc.start})") from None


def decode(raw: bytes, kind: type[T]) -> T:
    """Decode `raw`; a null in a field that has no place for it is left out. Raises `msgspec.DecodeError`."""
    if folding.is_needed(raw, kind):
        data = folding.fold(strictly(raw, object), kind)
    else:
        try:
            return strictly(raw, kind)
        except msgspec.ValidationError:
            if b"null" not in raw:
                raise
        data = strictly(raw, object)
    for _ in range(_MAX_NULLS):
        try:
            return msgspec.convert(data, kind)
        except msgspec.ValidationError as exc:
            where = _NULL_AT.search(str(exc))
            if where is None or not _drop(data, where["path"] or "", where["kind"]):
                raise
    return msgspec.convert(data, kind)


def _drop(data: Any, path: str, wanted: str) -> bool:  # noqa: ANN401  any JSON value
    """Leave out the null at `path`, as msgspec spells it, where `wanted` was expected; False if it is not found."""
    places = [data]
    parts = list(_PART.finditer(path))
    for part in parts[:-1]:
        places = [inner for place in places for inner in _inner(place, part)]
    gone = [_drop_last(place, parts[-1], wanted) for place in places] if parts else []
    return any(gone)


def _inner(place: Any, part: "re.Match[str]") -> list[Any]:  # noqa: ANN401
    if part["any"] and isinstance(place, dict):
        return list(place.values())
    if part["any"] and isinstance(place, list):
        return place
    if part["key"] is not None and isinstance(place, dict) and part["key"] in place:
        return [place[part["key"]]]
    if part["index"] is not None and isinstance(place, list) and int(part["index"]) < len(place):
        return [place[int(part["index"])]]
    return []


def _drop_last(place: Any, part: "re.Match[str]", wanted: str) -> bool:  # noqa: ANN401
    emptied = wanted == "str"
    if isinstance(place, dict):
        keys = [part["key"]] if part["key"] is not None else list(place)
        gone = [key for key in keys if key in place and place[key] is None]
        for key in gone:
            if emptied and part["any"]:
                place[key] = ""
            else:
                del place[key]
        return bool(gone)
    if isinstance(place, list) and None in place:
        place[:] = ["" if item is None else item for item in place if emptied or item is not None]
        return True
    return False
