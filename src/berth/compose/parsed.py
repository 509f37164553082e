"""Remember what parsing a text gave, so that an unchanged file is not parsed again.

An entry is named by the digest of the text, so it cannot be stale. Whatever goes wrong with one, the
text is parsed instead. Only entries of the caller's own are believed.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, Final

import berth
from berth.compose.errors import Mark
from berth.compose.hashing import text_digest
from berth.compose.values import RESET, Map, Override, Reset, Seq, Value

#: Entries kept; the oldest go first. A project has a handful of files, each edit makes one entry.
MOST_ENTRIES: Final = 64
#: Longer texts are no daily matter and are parsed each time.
MOST_CHARACTERS: Final = 1_000_000


def cache_directory(environ: Mapping[str, str]) -> str | None:
    """Return where entries are kept, or None where there is no place of the user's own."""
    base = environ.get("XDG_CACHE_HOME") or (os.path.join(environ["HOME"], ".cache") if environ.get("HOME") else "")
    return os.path.join(base, "berth", "compose") if base.startswith("/") else None


def _entry(directory: str, text: str) -> str:
    return os.path.join(directory, text_digest(f"{berth.VERSION}\0{text}") + ".json")


def recall(directory: str | None, text: str, file: str) -> list[Map] | None:
    """Return the documents of `text` if it was parsed before; marks carry the name `file`."""
    if directory is None or len(text) > MOST_CHARACTERS:
        return None
    try:
        with open(_entry(directory, text), encoding="utf-8") as stored:
            if os.fstat(stored.fileno()).st_uid != os.geteuid():
                return None
            documents = [_decode(entry, file) for entry in json.load(stored)]
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None
    return documents if all(isinstance(document, Map) for document in documents) else None


def keep(directory: str | None, text: str, documents: list[Map]) -> None:
    """Remember the documents of `text`; call it before anything changes them."""
    if directory is None or len(text) > MOST_CHARACTERS:
        return
    path = _entry(directory, text)
    passing = f"{path}.{os.getpid()}"
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with open(passing, "w", encoding="utf-8") as file:
            json.dump([_encode(document) for document in documents], file, separators=(",", ":"))
        os.replace(passing, path)
        _tidy(directory)
    except (OSError, ValueError, RecursionError):
        return  # next time it is parsed again


def _tidy(directory: str) -> None:
    with os.scandir(directory) as listing:
        entries = sorted(
            (entry.stat().st_mtime, entry.path) for entry in listing if entry.is_file(follow_symlinks=False)
        )
    for _, path in entries[:-MOST_ENTRIES]:
        os.unlink(path)


def _encode(value: Value) -> Any:  # noqa: ANN401  JSON
    if isinstance(value, Map):
        items: list[Any] = ["m"]
        for key, item in value.items():
            mark = value.marks.get(key)
            items.append([key, mark.line if mark else 0, mark.column if mark else 0, _encode(item)])
        return items
    if isinstance(value, Seq):
        return [
            "s",
            *([m.line if m else 0, m.column if m else 0, _encode(v)] for v, m in zip(value, value.marks, strict=True)),
        ]
    if isinstance(value, Reset):
        return ["r"]
    if isinstance(value, Override):
        return ["o", _encode(value.value)]
    return value


def _decode(value: Any, file: str) -> Value:  # noqa: ANN401  JSON
    if not isinstance(value, list):
        return value
    kind = value[0]
    if kind == "m":
        result = Map()
        for key, line, column, item in value[1:]:
            result.put(key, _decode(item, file), Mark(file, line, column) if line else None)
        return result
    if kind == "s":
        items = Seq()
        for line, column, item in value[1:]:
            items.add(_decode(item, file), Mark(file, line, column) if line else None)
        return items
    return RESET if kind == "r" else Override(_decode(value[1], file))
