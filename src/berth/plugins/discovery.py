"""Where a plugin of some name listens: sockets, ``.spec`` and ``.json`` files in a few directories, as in Docker.

Looked up at each use, so that a plugin may come, go and move while the engine runs. Must not: speak to plugins.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from berth.plugins.errors import BadPluginFile, PluginNotFound
from berth.wire.decode import strictly

#: What an address may begin with.
SCHEMES: Final = ("unix", "tcp", "http", "https")
#: Longest .spec or .json file that is read, in bytes.
_MOST: Final = 65_536


class Tls(msgspec.Struct, frozen=True, rename={"insecure": "InsecureSkipVerify"}):
    """How to speak TLS to a plugin; names as Docker's files have them."""

    ca_file: str = msgspec.field(name="CAFile", default="")
    cert_file: str = msgspec.field(name="CertFile", default="")
    key_file: str = msgspec.field(name="KeyFile", default="")
    insecure: bool = False


class _Json(msgspec.Struct, frozen=True):
    """A ``.json`` file."""

    address: str = msgspec.field(name="Addr", default="")
    tls: Tls | None = msgspec.field(name="TLSConfig", default=None)


@dataclass(frozen=True, slots=True)
class Found:
    """One plugin: its name, where it listens, how to know that it is still the same."""

    name: str
    #: ``unix:///path``, ``tcp://host:port``, ``http://host:port`` or ``https://host:port``.
    address: str
    tls: Tls | None = None
    #: Changes when the socket or the file is made anew.
    mark: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Places:
    """Directories that are looked through, in this order: all for sockets, then all for files."""

    sockets: tuple[Path, ...]
    files: tuple[Path, ...]

    def find(self, name: str) -> Found:
        """Find one plugin (blocking). Raises `PluginNotFound`, `BadPluginFile`."""
        if not name or name.startswith(".") or "/" in name or "\0" in name:
            raise PluginNotFound(name)
        for directory in self.sockets:
            for path in (directory / f"{name}.sock", directory / name / f"{name}.sock"):
                seen = _stat(path)
                if seen is not None and stat.S_ISSOCK(seen.st_mode):
                    return Found(name, f"unix://{path}", mark=(seen.st_ino, seen.st_mtime_ns))
        for directory in self.files:
            for ending, read in ((".spec", _spec), (".json", _json)):
                for path in (directory / f"{name}{ending}", directory / name / f"{name}{ending}"):
                    seen = _stat(path)
                    if seen is not None and stat.S_ISREG(seen.st_mode):
                        return read(name, path, (seen.st_ino, seen.st_mtime_ns))
        raise PluginNotFound(name)

    def names(self) -> tuple[str, ...]:
        """Return the name of every plugin there is, whether it runs or not (blocking)."""
        found = {*_names(self.sockets, (".sock",)), *_names(self.files, (".spec", ".json"))}
        return tuple(sorted(found))


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # not there, or not to be looked at: as good as not there


def _names(directories: Iterable[Path], endings: tuple[str, ...]) -> set[str]:
    found = set()
    for directory in directories:
        try:
            entries = list(directory.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.suffix in endings:
                found.add(entry.stem)
            elif any(_stat(entry / f"{entry.name}{ending}") for ending in endings):
                found.add(entry.name)
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST)
    except OSError as exc:
        raise BadPluginFile(str(path), exc.strerror or str(exc)) from None


def _spec(name: str, path: Path, mark: tuple[int, int]) -> Found:
    text = _read(path).decode(errors="replace").strip()
    return Found(name, _checked(path, text), mark=mark)


def _json(name: str, path: Path, mark: tuple[int, int]) -> Found:
    try:
        said = strictly(_read(path), _Json)
    except msgspec.DecodeError as exc:
        raise BadPluginFile(str(path), str(exc)) from None
    tls = said.tls
    if tls is not None and not tls.ca_file:  # Docker's rule: nothing to check it against
        tls = msgspec.structs.replace(tls, insecure=True)
    return Found(name, _checked(path, said.address), tls, mark)


def _checked(path: Path, address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES:
        raise BadPluginFile(str(path), f"unknown protocol in {address!r}: one of {', '.join(SCHEMES)} is needed")
    if not (parts.path if parts.scheme == "unix" else parts.netloc):
        raise BadPluginFile(str(path), f"{address!r} names no place to connect to")
    return address
