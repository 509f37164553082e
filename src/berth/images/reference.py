"""Names of images: Docker's grammar and its familiar short forms. Pure.

The grammar is that of distribution's ``reference`` package: ``[registry[:port]/]path[:tag][@digest]``, where the
first path component is a registry only if it has a dot, a colon, an upper-case letter or is ``localhost``;
without a registry it is docker.io, and without a second component ``library/``.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from berth.images.errors import InvalidReference, InvalidTag

DEFAULT_REGISTRY: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
#: Longest repository name, registry included (distribution/reference, NameTotalLengthMax).
MAX_NAME_LENGTH: Final = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}\Z")
_SHA256: Final = re.compile(r"sha256:[0-9a-f]{64}\Z")
_HEX64: Final = re.compile(r"[a-f0-9]{64}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A parsed name. `tag` and `digest` are empty when not given."""

    registry: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def repository(self) -> str:
        """Registry and path in full: ``docker.io/library/nginx``."""
        return f"{self.registry}/{self.path}"

    @property
    def familiar_repository(self) -> str:
        """The repository as users write it: ``nginx``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.repository
        return self.path.removeprefix("library/") if self.path.count("/") == 1 else self.path

    @property
    def full(self) -> str:
        """The whole name; the key in the table of names."""
        return self.repository + self._tail

    @property
    def familiar(self) -> str:
        """The whole name as users write it."""
        return self.familiar_repository + self._tail

    @property
    def is_loopback(self) -> bool:
        """Whether the registry is on this machine, and may therefore speak plain HTTP (moby registry/config.go)."""
        host = self.registry.rsplit(":", 1)[0] if not self.registry.endswith("]") else self.registry
        return host in {"localhost", "[::1]"} or bool(re.match(r"127(\.\d{1,3}){3}\Z", host))

    @property
    def _tail(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def with_tag(self, tag: str) -> "Reference":
        """Return the same repository with `tag` and no digest; raises `InvalidTag`."""
        if not _TAG.match(tag):
            raise InvalidTag
        return replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> "Reference":
        """Return the same repository with `digest` and no tag; raises `InvalidReference`."""
        if not is_digest(digest):
            raise InvalidReference
        return replace(self, tag="", digest=digest)

    def or_latest(self) -> "Reference":
        """Return itself, with the tag ``latest`` if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)


def is_digest(text: str) -> bool:
    """Tell whether `text` is a SHA-256 digest with its algorithm."""
    return bool(_SHA256.match(text))


def parse_reference(text: str) -> Reference:
    """Parse what a user typed as the name of an image; raises `InvalidReference`."""
    if not text:
        raise InvalidReference
    if _HEX64.match(text):
        raise InvalidReference(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise InvalidReference
    if digest.startswith("sha256:") and not is_digest(digest):
        raise InvalidReference("invalid checksum digest length" if len(digest) != 71 else "")
    registry, path = _split_registry(rest)
    tag = ""
    slash, colon = path.rfind("/"), path.rfind(":")
    if colon > slash:
        path, tag = path[:colon], path[colon + 1 :]
        if not _TAG.match(tag):
            raise InvalidReference
    if not _PATH.match(path):
        if _PATH.match(path.lower()):
            raise InvalidReference(f"repository name ({path}) must be lowercase")
        raise InvalidReference
    if not _REGISTRY.match(registry):
        raise InvalidReference
    made = Reference(registry=registry, path=path, tag=tag, digest=digest)
    if len(made.repository) > MAX_NAME_LENGTH:
        raise InvalidReference(f"repository name must not be more than {MAX_NAME_LENGTH} characters")
    return made


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    registry, path = (first, rest) if is_registry else (DEFAULT_REGISTRY, text)
    if registry == "index.docker.io":
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    return registry, path
