import pytest

from berth.containers.users import Identity, NoSuchGroup, NoSuchUser, resolve

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# note\npg:x:999:998:PG:/var/lib/pg:/bin/sh\nbroken:x:a:b\n"
GROUP = "root:x:0:\npg:x:998:\ndisk:x:6:pg,root\n"


@pytest.mark.parametrize(
    ("wanted", "who"),
    [
        ("", Identity(0, 0, (0, 6), "/root")),
        ("pg", Identity(999, 998, (998, 6), "/var/lib/pg")),
        ("999", Identity(999, 998, (998, 6), "/var/lib/pg")),
        ("1234", Identity(1234, 0, (0,), "/")),
        ("1234:55", Identity(1234, 55, (55,), "/")),
        ("pg:disk", Identity(999, 6, (6,), "/var/lib/pg")),
    ],
)
def test_who_it_is(wanted: str, who: Identity) -> None:
    assert resolve(wanted, PASSWD, GROUP) == who


def test_further_groups_are_added() -> None:
    assert resolve("1234", PASSWD, GROUP, ("disk", "77", "disk")).groups == (0, 6, 77)


def test_unknown_names_are_refused_in_dockers_words() -> None:
    with pytest.raises(NoSuchUser, match="unable to find user nobody: no matching entries in passwd file"):
        resolve("nobody", PASSWD, GROUP)
    with pytest.raises(NoSuchGroup, match="unable to find group nix: no matching entries in group file"):
        resolve("pg:nix", PASSWD, GROUP)


def test_no_files_at_all() -> None:
    assert resolve("0", "", "") == Identity(0, 0, (0,), "/")
