"""Who is to own a directory, as far as somebody said so. Pure."""

from typing import Final, NamedTuple


class Owner(NamedTuple):
    """Owner and mode of a directory; what is None stays as it comes."""

    uid: int | None = None
    gid: int | None = None
    mode: int | None = None


#: Everything stays as it comes.
NOBODY_SAID: Final = Owner()
