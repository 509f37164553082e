"""Names of fields in any case, as Go's decoder takes them: ``{"name": "x"}`` says what ``{"Name": "x"}`` says. Pure.

Only fields of records are meant; keys that are a user's, such as those of labels, stay as they are.
"""

import re
from functools import cache
from typing import Any, Final, NamedTuple

from msgspec import inspect

#: What may be a key in JSON; a value that looks like one costs time and nothing else.
_KEY: Final = re.compile(rb'"([A-Za-z0-9]+)"\s*:')


class _Names(NamedTuple):
    exact: frozenset[bytes]
    folded: frozenset[bytes]


def is_needed(raw: bytes, kind: Any) -> bool:  # noqa: ANN401  any type msgspec decodes to
    """Whether some key of `raw` may be a field of `kind`, or of a record in it, in another case."""
    known = _names(kind)
    return any(key not in known.exact and key.lower() in known.folded for key in set(_KEY.findall(raw)))


def fold(data: Any, kind: Any) -> Any:  # noqa: ANN401  any JSON value
    """Return `data` with the names of fields as `kind` has them; of one field said twice the later counts."""
    return _folded(data, _type(kind))


@cache
def _type(kind: Any) -> inspect.Type:  # noqa: ANN401
    return inspect.type_info(kind)


@cache
def _names(kind: Any) -> _Names:  # noqa: ANN401
    seen: dict[type, inspect.StructType] = {}
    _collect(_type(kind), seen)
    exact = frozenset(one.encode_name.encode() for struct in seen.values() for one in struct.fields)
    return _Names(exact, frozenset(name.lower() for name in exact))


def _collect(info: inspect.Type, seen: dict[type, inspect.StructType]) -> None:
    if isinstance(info, inspect.StructType):
        if info.cls not in seen:
            seen[info.cls] = info
            for one in info.fields:
                _collect(one.type, seen)
    else:
        for inner in _parts(info):
            _collect(inner, seen)


def _parts(info: inspect.Type) -> tuple[inspect.Type, ...]:
    match info:
        case inspect.UnionType(types=types):
            return types
        case inspect.DictType(value_type=value):
            return (value,)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return (item,)
    return ()


@cache
def _fields(cls: type) -> tuple[dict[str, inspect.Field], dict[str, str]]:
    info = _type(cls)
    assert isinstance(info, inspect.StructType)
    fields = {one.encode_name: one for one in info.fields}
    return fields, {name.lower(): name for name in fields}


def _folded(data: Any, info: inspect.Type) -> Any:  # noqa: ANN401
    if isinstance(info, inspect.UnionType):
        fitting = (one for one in info.types if _fits(data, one))
        return next((_folded(data, one) for one in fitting), data)
    if isinstance(data, dict) and isinstance(info, inspect.StructType):
        fields, lower = _fields(info.cls)
        said = ((key if key in fields else lower.get(key.lower(), key), value) for key, value in data.items())
        return {key: _folded(value, fields[key].type) if key in fields else value for key, value in said}
    if isinstance(data, dict) and isinstance(info, inspect.DictType):
        return {key: _folded(value, info.value_type) for key, value in data.items()}
    if isinstance(data, list) and isinstance(info, inspect.ListType | inspect.VarTupleType):
        return [_folded(value, info.item_type) for value in data]
    return data


def _fits(data: Any, info: inspect.Type) -> bool:  # noqa: ANN401
    if isinstance(data, dict):
        return isinstance(info, inspect.StructType | inspect.DictType)
    return isinstance(data, list) and isinstance(info, inspect.ListType | inspect.VarTupleType)
