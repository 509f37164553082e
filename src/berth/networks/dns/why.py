"""Why an answer is what it is: who or what gave it. Pure."""

from typing import Final, NamedTuple

#: Answered from the tables: a container's own name, another name of its, a link, a wildcard, an address.
NAME: Final = "name"
ALIAS: Final = "alias"
LINK: Final = "link"
WILDCARD: Final = "wildcard"
ADDRESS: Final = "address"
#: A name without a dot that stays inside because of an ``ndots`` option.
KEPT_IN: Final = "kept in"
#: Answered by a server outside, by what it said before, by what it said too long ago.
UPSTREAM: Final = "upstream"
CACHE: Final = "cache"
STALE: Final = "stale"
#: Not answered: too many under way, or nobody outside could.
REFUSED: Final = "refused"
FAILED: Final = "failed"
#: Not a query one can answer.
UNFIT: Final = "unfit"

LOCAL: Final = (NAME, ALIAS, LINK, WILDCARD, ADDRESS, KEPT_IN)


class Why(NamedTuple):
    """The reason for one answer."""

    kind: str
    #: The network whose table has the name.
    network: str = ""
    #: What was found there: the name itself, a link's target, a wildcard.
    entry: str = ""
    #: The containers that hold it.
    holders: tuple[str, ...] = ()
    #: The server outside.
    upstream: str = ""
