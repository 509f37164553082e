"""What removing means: the order of Docker's rules."""

import pytest

from berth.base.errors import Conflict
from berth.images.errors import DeletionConflict, ReferenceInUse
from berth.images.reference import parse_reference
from berth.images.removal import Removal, User, plan_removal

IMAGE = "sha256:" + "1" * 64
ONE, TWO, OTHER = parse_reference("a:1"), parse_reference("a:2"), parse_reference("b:1")
DIGEST = parse_reference("a@sha256:" + "d" * 64)
RUNNING, STOPPED = ("c" * 64, True), ("e" * 64, False)


def plan(
    ref: str,
    *names: object,
    users: tuple[User, ...] = (),
    force: bool = False,
    by_id: bool = False,
) -> Removal:
    return plan_removal(
        ref=ref,
        named=None if by_id else parse_reference(ref),
        image_id=IMAGE,
        names=names,  # type: ignore[arg-type]
        users=users,
        force=force,
    )


def test_one_name_of_several_goes_alone() -> None:
    assert plan("a:1", ONE, TWO) == Removal(untag=(ONE,), delete=False)
    assert plan("a:1", ONE, OTHER, users=(RUNNING,)) == Removal(untag=(ONE,), delete=False)


def test_the_last_tag_of_a_repository_takes_its_digests_along() -> None:
    assert plan("a:1", ONE, DIGEST) == Removal(untag=(ONE, DIGEST), delete=True)
    assert plan("a:1", ONE, TWO, DIGEST) == Removal(untag=(ONE,), delete=False)
    assert plan("a:1", ONE, DIGEST, OTHER) == Removal(untag=(ONE, DIGEST), delete=False)


def test_the_only_name_of_an_image_in_use_needs_force() -> None:
    with pytest.raises(ReferenceInUse) as caught:
        plan("a:1", ONE, users=(STOPPED,))
    assert str(caught.value) == (
        f'conflict: unable to remove repository reference "a:1" (must force) - container {"e" * 12} '
        f"is using its referenced image {'1' * 12}"
    )
    # Its layers are under that container: it loses its name and stays.
    assert plan("a:1", ONE, users=(RUNNING,), force=True) == Removal(untag=(ONE,), delete=False)


def test_by_identifier() -> None:
    assert plan("1111", by_id=True) == Removal(untag=(), delete=True)
    assert plan("1111", ONE, DIGEST, by_id=True) == Removal(untag=(ONE, DIGEST), delete=True)
    assert plan("1111", ONE, OTHER, by_id=True, force=True) == Removal(untag=(ONE, OTHER), delete=True)
    assert plan("1111", ONE, users=(STOPPED,), by_id=True, force=True) == Removal(untag=(ONE,), delete=False)


@pytest.mark.parametrize(
    ("names", "users", "force", "words"),
    [
        ((ONE, OTHER), (), False, "(must be forced) - image is referenced in multiple repositories"),
        ((ONE, TWO), (), False, "(must be forced) - image is referenced in multiple repositories"),
        ((ONE,), (STOPPED,), False, f"(must be forced) - image is being used by stopped container {'e' * 12}"),
        ((ONE,), (RUNNING,), False, f"(cannot be forced) - image is being used by running container {'c' * 12}"),
        ((), (RUNNING,), True, f"(cannot be forced) - image is being used by running container {'c' * 12}"),
    ],
)
def test_conflicts_by_identifier(
    names: tuple[object, ...], users: tuple[User, ...], words: str, *, force: bool
) -> None:
    with pytest.raises(DeletionConflict) as caught:
        plan("1111", *names, users=users, force=force, by_id=True)
    assert str(caught.value) == f"conflict: unable to delete {'1' * 12} {words}"
    assert isinstance(caught.value, Conflict)
