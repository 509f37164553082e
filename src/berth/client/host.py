"""Where the engine listens: from flag and environment to a connected socket."""

from __future__ import annotations

import os
import socket

from berth.client.errors import BadHost, ConnectFailed

#: Where berthd listens unless told otherwise.
DEFAULT_HOST = "unix:///run/berth/berth.sock"


def choose_host(flag: str | None = None) -> str:
    """Return the engine's address: the flag, else ``BERTH_HOST``, else ``DOCKER_HOST``, else berthd's own socket."""
    return flag or os.environ.get("BERTH_HOST") or os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def split_host(host: str) -> tuple[str, str, int]:
    """Parse an address into ``(scheme, path or host name, port)``; the scheme is ``unix``, ``tcp`` or ``https``."""
    scheme, mark, rest = host.partition("://")
    if not mark:
        if host.startswith("/"):
            return "unix", host, 0
        scheme, rest = "tcp", host
    if scheme == "unix":
        return "unix", rest or "/run/berth/berth.sock", 0
    if scheme not in ("tcp", "http", "https"):
        raise BadHost(f"unable to parse docker host `{host}`: the protocol {scheme} is not supported")
    name, _, port = rest.partition("/")[0].rpartition(":")
    if not name:
        name, port = port, ""
    tls = scheme == "https" or bool(os.environ.get("DOCKER_TLS_VERIFY"))
    try:
        number = int(port) if port else 2376 if tls else 2375
    except ValueError:
        raise BadHost(f"unable to parse docker host `{host}`: invalid port") from None
    return "https" if tls else "tcp", name.strip("[]") or "127.0.0.1", number


def dial(host: str, timeout: float | None = None) -> socket.socket:
    """Connect to the address.

    Raises:
        ConnectFailed: Nobody listens there, or we may not talk to who does.
        BadHost: The address makes no sense.
    """
    scheme, name, port = split_host(host)
    try:
        if scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.connect(name)
            except OSError:
                sock.close()
                raise
            return sock
        # The time limit is for connecting only: an answer (a wait, a build) may take days.
        sock = socket.create_connection((name, port), timeout)
    except PermissionError as error:
        raise ConnectFailed(
            f"permission denied while trying to connect to the Docker daemon socket at {host}: "
            "connect: permission denied"
        ) from error
    except OSError as error:
        text = f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?"
        if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
            text += f" ({error.strerror or error})"
        if host == DEFAULT_HOST:
            text += "\nThat is where berthd listens: start it, or name another engine with -H."
        raise ConnectFailed(text) from error
    sock.settimeout(None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if scheme == "https":
        return _secure(sock, name)
    return sock


def _secure(sock: socket.socket, name: str) -> socket.socket:
    """Wrap a connection in TLS with the files Docker's environment names."""
    import ssl

    directory = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    authority = os.path.join(directory, "ca.pem")
    context = ssl.create_default_context(cafile=authority if os.path.exists(authority) else None)
    certificate = os.path.join(directory, "cert.pem")
    if os.path.exists(certificate):
        context.load_cert_chain(certificate, os.path.join(directory, "key.pem"))
    try:
        return context.wrap_socket(sock, server_hostname=name)
    except OSError as error:
        sock.close()
        raise ConnectFailed(f"error during connect: {error}") from error
