"""What skopeo says when a registry refuses, in the words and kinds Docker has for it. Pure.

Sources: moby ``distribution/errors.go`` and ``registry``; skopeo's messages as versions 1.9 to 1.18 print them.
"""

import re
from typing import Final

from berth.base.errors import EngineError
from berth.images.errors import (
    AccessDenied,
    BadCredentials,
    ManifestUnknown,
    PlatformMissing,
    PushDenied,
    RegistryFailed,
)
from berth.images.reference import Reference

_REQUEST: Final = re.compile(r'(?:Get|Head|Post|Put|Patch) \\?"(?P<url>[^"\\]+)\\?": (?P<reason>.*)')
_FATAL: Final = re.compile(r'level=fatal msg="(?P<text>(?:[^"\\]|\\.)*)"')
_UNAUTHORIZED: Final = ("unauthorized", "authentication required", "invalid username/password", "no basic auth")


def said_by(output: str) -> str:
    """Return the reason in a program's output, without time stamps and escapes."""
    fatal = _FATAL.findall(output)
    text = fatal[-1] if fatal else output.strip()
    return text.replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")


def pull_refusal(output: str, reference: Reference) -> EngineError:
    """Translate why a pull failed."""
    text = said_by(output)
    lower = text.lower()
    if "manifest unknown" in lower or "no such manifest" in lower or "manifest not found" in lower:
        return ManifestUnknown(reference.familiar)
    if "name unknown" in lower or "repository name not known" in lower or "requested access" in lower:
        return AccessDenied(reference.familiar_repository)
    if any(word in lower for word in _UNAUTHORIZED) or "denied" in lower:
        return AccessDenied(reference.familiar_repository)
    if "no image found in manifest list" in lower or "no image found in image index" in lower:
        return PlatformMissing(reference.familiar, "the platform asked for")
    return _failed(text)


def push_refusal(output: str) -> EngineError:
    """Translate why a push failed."""
    text = said_by(output)
    lower = text.lower()
    if any(word in lower for word in _UNAUTHORIZED):
        return PushDenied("unauthorized: authentication required")
    if "denied" in lower:
        return PushDenied("denied: requested access to the resource is denied")
    return _failed(text)


def login_refusal(output: str, registry: str) -> EngineError:
    """Translate why credentials were not accepted."""
    text = said_by(output)
    if any(word in text.lower() for word in _UNAUTHORIZED):
        return BadCredentials(registry)
    return _failed(text)


def _failed(text: str) -> EngineError:
    request = _REQUEST.search(text)
    if request is not None:
        return RegistryFailed(f'Get "{request["url"]}": {request["reason"]}')
    return RegistryFailed(text)
