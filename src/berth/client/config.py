"""The user's ``~/.docker/config.json``, shared with Docker's client: credentials of registries, formats.

Credential helpers are asked by running them, which only `berth.kernel` may do: entries that name one are not used.
"""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

#: The key of Docker Hub in the file.
HUB = "https://index.docker.io/v1/"


class Settings:
    """The content of one ``config.json``."""

    def __init__(self, path: str, content: dict[str, Any]) -> None:
        self._path = path
        self._content = content

    @classmethod
    def load(cls, directory: str) -> Self:
        """Read the file; a missing or a broken one is empty."""
        path = os.path.join(directory, "config.json")
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
        except (OSError, ValueError):
            content = {}
        return cls(path, content if isinstance(content, dict) else {})

    def text(self, key: str) -> str:
        """Return a setting, empty if it is not there."""
        value = self._content.get(key, "")
        return value if isinstance(value, str) else ""

    def credentials(self, server: str) -> dict[str, str]:
        """Return what the API wants to know for a registry; empty without a login."""
        import base64

        auths = self._content.get("auths") or {}
        for key in (server, f"https://{server}", f"https://{server}/v1/", f"http://{server}"):
            entry = auths.get(key)
            if entry:
                break
        else:
            return {}
        found = {"serveraddress": server}
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode("utf-8", "replace").partition(":")
            found |= {"username": user, "password": password.rstrip("\0")}
        if entry.get("identitytoken"):
            found["identitytoken"] = entry["identitytoken"]
        return found

    def store(self, server: str, user: str, password: str, token: str = "") -> None:
        """Write a registry's credentials to the file."""
        import base64

        entry = {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        if token:
            entry = {"auth": base64.b64encode(f"{user}:".encode()).decode(), "identitytoken": token}
        self._content.setdefault("auths", {})[server] = entry
        self._write()

    def forget(self, server: str) -> bool:
        """Remove a registry's credentials; False if there were none."""
        auths = self._content.get("auths") or {}
        known = [key for key in (server, f"https://{server}", f"http://{server}") if key in auths]
        for key in known:
            del auths[key]
        if known:
            self._write()
        return bool(known)

    def _write(self) -> None:
        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        partial = f"{self._path}.{os.getpid()}"
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._content, file, indent="\t")
        os.replace(partial, self._path)


def registry_of(reference: str) -> str:
    """Return the registry an image's name belongs to, as the key of its credentials."""
    first, slash, _ = reference.partition("/")
    if (
        slash
        and ("." in first or ":" in first or first == "localhost")
        and first not in ("docker.io", "index.docker.io")
    ):
        return first
    return HUB


def auth_header(credentials: dict[str, str]) -> dict[str, str]:
    """Return the header that carries credentials to the engine."""
    import base64

    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(credentials).encode()).decode()}
