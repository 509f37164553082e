"""Which versions of the Docker Engine API are spoken, and how a path says which one it wants. Pure."""

import re
from typing import Final

from berth.base.errors import InvalidArgument

Version = tuple[int, int]

#: Newest version spoken: that of Docker 28's client.
NEWEST: Final[Version] = (1, 50)
#: Oldest version answered: moby's absolute floor (api/common.go, MinSupportedAPIVersion).
OLDEST: Final[Version] = (1, 24)

_PREFIX: Final = re.compile(r"/v(\d+)\.(\d+)(/.*)\Z")


class VersionTooOld(InvalidArgument):
    """The client insists on a version that is no longer answered."""

    def __init__(self, asked: Version) -> None:
        super().__init__(
            f"client version {text(asked)} is too old. Minimum supported API version is {text(OLDEST)}, "
            "please upgrade your client to a newer version"
        )


class VersionTooNew(InvalidArgument):
    """The client insists on a version that is not spoken yet."""

    def __init__(self, asked: Version) -> None:
        super().__init__(f"client version {text(asked)} is too new. Maximum supported API version is {text(NEWEST)}")


def text(version: Version) -> str:
    """Print a version as paths and headers carry it."""
    return f"{version[0]}.{version[1]}"


def split(path: str) -> tuple[Version, str]:
    """Split ``/v1.47/info`` into version and path; without a prefix the newest version is meant."""
    match = _PREFIX.match(path)
    if match is None:
        return NEWEST, path
    asked = (int(match[1]), int(match[2]))
    if asked < OLDEST:
        raise VersionTooOld(asked)
    if asked > NEWEST:
        raise VersionTooNew(asked)
    return asked, match[3]
