"""Calls of plugins: JSON in a POST over a unix socket, TCP or TLS, with Docker's header, patience and words. Blocking.

A plugin that is not there yet, or restarts, is tried again with growing pauses; one that takes a call and hangs is
given up after a limit, which Docker has not for every call. Must not: know what networks or volumes are.
"""

import contextlib
import http.client
import logging
import socket
import ssl
import threading
import time
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from berth.base.errors import EngineError
from berth.plugins.discovery import Found, Places, Tls
from berth.plugins.errors import (
    BadPluginFile,
    PluginBabbles,
    PluginLacks,
    PluginNotFound,
    PluginRefused,
    PluginSilent,
    PluginStatus,
    PluginUnreachable,
)
from berth.wire.decode import decode, strictly

log = logging.getLogger(__name__)

T = TypeVar("T")

#: What a plugin is told that we understand (Docker's plugin API, "versioning").
ACCEPT: Final = "application/vnd.docker.plugins.v1.2+json"
#: Host header for a socket, which has none: Docker's, for servers that check it.
SOCKET_HOST: Final = "plugin.moby.localhost"
#: Seconds for which an unreachable plugin is tried again (moby, pkg/plugins).
PATIENCE_S: Final = 30.0
#: First pause between two tries in seconds; each one is twice as long.
FIRST_PAUSE_S: Final = 1.0
#: Seconds a plugin may take for one answer.
LIMIT_S: Final = 60.0
#: Longest answer that is read, in bytes.
MOST: Final = 4 << 20


class Nothing(msgspec.Struct, frozen=True):
    """An answer with nothing in it."""


class _Manifest(msgspec.Struct, frozen=True):
    """Answer to ``Plugin.Activate``."""

    implements: tuple[str, ...] = msgspec.field(name="Implements", default=())


class Plugins:
    """Every plugin there is. Many threads may call at once."""

    def __init__(
        self,
        places: Places,
        *,
        limit_s: float = LIMIT_S,
        patience_s: float = PATIENCE_S,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        """Look for plugins in `places`."""
        self._places = places
        self._limit_s = limit_s
        self._patience_s = patience_s
        self._first_pause_s = first_pause_s
        self._known: dict[str, tuple[Found, tuple[str, ...]]] = {}
        #: Calls that take something back and found nobody, by plugin, oldest first; for as long as the engine runs.
        self._owed: dict[str, list[tuple[str, object]]] = {}

    def names(self) -> tuple[str, ...]:
        """Return the name of every plugin there is, whether it runs or not."""
        return self._places.names()

    def require(self, name: str, kind: str, *, patient: bool = True) -> None:
        """Make sure that a plugin is there and implements `kind`, as ``NetworkDriver``; wake it if it is new.

        Raises `PluginNotFound`, `PluginLacks`, and what `call` raises.
        """
        found = self._places.find(name)
        known = self._known.get(name)
        if known is None or known[0] != found:
            patience_s = self._patience_s if patient else 0.0
            manifest = self._call(found, "Plugin.Activate", None, _Manifest, self._limit_s, patience_s)
            known = self._known[name] = (found, manifest.implements)
        if kind not in known[1]:
            raise PluginLacks(name, kind, known[1])

    def call(self, name: str, method: str, body: object, answer: type[T], *, limit_s: float | None = None) -> T:
        """Call ``Kind.Method`` of a plugin and return its answer.

        Raises `PluginNotFound`, `PluginUnreachable`, `PluginSilent`, `PluginBabbles`, `PluginStatus`, `PluginRefused`.
        """
        self.require(name, method.partition(".")[0])
        for owed, what in self._owed.pop(name, ()):
            self.take_back(name, owed, what)
        return self._call(self._places.find(name), method, body, answer, limit_s or self._limit_s, self._patience_s)

    def take_back(self, name: str, method: str, body: object) -> None:
        """Make a call that takes something back: what goes wrong is logged, nothing is waited for.

        Of a plugin that is not there now, it is made before the next call.
        """
        try:
            self.require(name, method.partition(".")[0], patient=False)
            self._call(self._places.find(name), method, body, Nothing, self._limit_s, 0.0)
        except (PluginUnreachable, PluginNotFound) as exc:
            log.warning("plugin %s, %s: %s; it is told when it is back", name, method, exc)
            self._owed.setdefault(name, []).append((method, body))
        except EngineError as exc:
            log.warning("plugin %s, %s: %s", name, method, exc)

    def _call(self, found: Found, method: str, body: object, answer: type[T], limit_s: float, patience_s: float) -> T:
        sent = msgspec.json.encode(body) if body is not None else b""
        raw = self._patiently(found, method, sent, limit_s, patience_s)
        try:
            data = decode(raw, dict[str, Any])
            said = _value(data, "err") or _value(data, "error")
            if said:
                raise PluginRefused(str(said))
            return msgspec.convert(_named(data, answer), answer)
        except msgspec.DecodeError as exc:
            raise PluginBabbles(found.name, method, str(exc)) from None

    def _patiently(self, found: Found, method: str, body: bytes, limit_s: float, patience_s: float) -> bytes:
        begun, pause = time.monotonic(), self._first_pause_s
        while True:
            try:
                return _once(found, method, body, limit_s)
            except (OSError, http.client.HTTPException) as exc:
                if isinstance(exc, ssl.SSLCertVerificationError) or (pause + time.monotonic() - begun >= patience_s):
                    raise PluginUnreachable(found.name, method, found.address, _reason(exc)) from exc
                log.warning("plugin %s, %s: %s; again in %g s", found.name, method, _reason(exc), pause)
                time.sleep(pause)
                pause *= 2


def _once(found: Found, method: str, body: bytes, limit_s: float) -> bytes:
    connection = _connection(found, limit_s)
    expired = threading.Event()
    timer = threading.Timer(limit_s, _cut, (connection, expired))
    timer.daemon = True
    try:
        connection.connect()
        # A limit for the whole answer: that of the socket begins anew with every byte.
        timer.start()
        connection.request("POST", f"/{method}", body, {"Accept": ACCEPT, "Host": _host(found.address)})
        response = connection.getresponse()
        raw = response.read(MOST + 1)
    except (OSError, http.client.HTTPException) as exc:
        if expired.is_set() or isinstance(exc, TimeoutError):
            raise PluginSilent(found.name, method, limit_s) from exc
        if isinstance(exc, http.client.HTTPException) and not isinstance(exc, http.client.RemoteDisconnected):
            raise PluginBabbles(found.name, method, _reason(exc)) from exc
        raise
    finally:
        timer.cancel()
        connection.close()
    if expired.is_set():
        raise PluginSilent(found.name, method, limit_s)
    if len(raw) > MOST:
        raise PluginBabbles(found.name, method, f"more than {MOST} bytes")
    if response.status != http.client.OK:
        raise PluginStatus(method, response.status, _words(raw) or response.reason)
    return raw


def _cut(connection: http.client.HTTPConnection, expired: threading.Event) -> None:
    expired.set()
    if connection.sock is not None:
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _words(raw: bytes) -> str:
    """Return what an answer that means failure says: its ``Err``, or all of it."""
    with contextlib.suppress(msgspec.DecodeError):
        said = _value(strictly(raw, dict[str, Any]), "err")
        if said:
            return str(said)
    return raw[:2000].decode(errors="replace").strip()


def _reason(exc: Exception) -> str:
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror.lower()
    return str(exc) or type(exc).__name__


def _value(data: dict[str, Any], key: str) -> object:
    return next((value for name, value in data.items() if name.lower() == key), None)


def _named(value: Any, kind: Any) -> Any:  # noqa: ANN401  any JSON value, any type
    """Spell the keys of objects as `kind` has them: Go, and so Docker, takes them in any case."""
    if isinstance(value, list):
        return [_named(each, kind) for each in value]
    if not isinstance(value, dict):
        return value
    fields = {field.encode_name.lower(): field for one in _structs(kind) for field in msgspec.structs.fields(one)}
    found = {}
    for key, inner in value.items():
        field = fields.get(key.lower())
        if field is None:
            found[key] = inner
        elif inner is not None:
            found[field.encode_name] = _named(inner, field.type)
    return found


def _structs(kind: Any) -> list[type[msgspec.Struct]]:  # noqa: ANN401
    """Return the structs that a type is, or is a union or sequence of."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [kind]
    return [one for inner in getattr(kind, "__args__", ()) for one in _structs(inner)]


# -- connections ----------------------------------------------------------------------------------------------------


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__(SOCKET_HOST, timeout=timeout)
        self._path = path

    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


def _connection(found: Found, limit_s: float) -> http.client.HTTPConnection:
    parts = urlsplit(found.address)
    if parts.scheme == "unix":
        return _Unix(parts.path, limit_s)
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.netloc, timeout=limit_s, context=_context(found.tls or Tls()))
    return http.client.HTTPConnection(parts.netloc, timeout=limit_s)


def _context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
    except OSError as exc:  # a file is missing, or holds no certificate
        names = ", ".join(one for one in (tls.ca_file, tls.cert_file, tls.key_file) if one)
        raise BadPluginFile(names, _reason(exc)) from None
    return context


def _host(address: str) -> str:
    parts = urlsplit(address)
    return SOCKET_HOST if parts.scheme == "unix" else parts.netloc
