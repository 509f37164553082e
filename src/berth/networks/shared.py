"""Namespaces that several containers are in, and what becomes of them without their owner. Pure.

A container may join another's namespace. The other is the owner: its attachments are in there. When the owner ends
while others are still in it, the namespace is kept, empty, and the owner's next start makes its links in it again;
so does a container that was made anew under the owner's name. Who is in a namespace is read off the records of
what runs, never counted.
"""

from collections.abc import Callable, Iterable

from berth.networks.model import LiveSandbox


def is_used(live: Iterable[LiveSandbox], namespace: str) -> bool:
    """Tell whether any running container is in a namespace."""
    return bool(namespace) and any(one.netns_path == namespace for one in live)


def joiners(live: Iterable[LiveSandbox], owner: LiveSandbox) -> list[LiveSandbox]:
    """Return the containers that are in a container's namespace beside it."""
    return [one for one in live if one.shared_with and owner.netns_path and one.netns_path == owner.netns_path]


def waiting_for(
    live: Iterable[LiveSandbox], container_id: str, name: str, exists: Callable[[str], bool]
) -> list[LiveSandbox]:
    """Return the containers left in the namespace that a starting container is to have again, none if there is none.

    Theirs is the namespace of a container of this id, or of this name that does not exist any more. Where several
    would do, the one that was joined first counts.
    """
    all_live = list(live)
    owners = {one.container_id for one in all_live if not one.shared_with}
    left = [
        one
        for one in all_live
        if one.shared_with and one.netns_path and one.shared_with not in owners
        and (one.shared_with == container_id or (one.shared_name == name and not exists(one.shared_with)))
    ]  # fmt: skip
    own = [one for one in left if one.shared_with == container_id] or left
    return [one for one in left if one.netns_path == own[0].netns_path] if own else []
