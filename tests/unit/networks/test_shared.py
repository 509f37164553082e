from berth.networks.model import LiveSandbox
from berth.networks.shared import is_used, joiners, waiting_for

OWNER = LiveSandbox("own", "s1", "/ns/1")
GUEST = LiveSandbox("guest", "s1", "/ns/1", shared_with="own", shared_name="vpn")
OTHER = LiveSandbox("other", "s2", "/ns/2")
ON_HOST = LiveSandbox("onhost", "s3", "", shared_with="hosted", shared_name="hosted")


def there(*names: str) -> object:
    return lambda ident: ident in names


def test_who_is_in_a_namespace() -> None:
    assert is_used([OTHER, GUEST], "/ns/1")
    assert not is_used([OTHER, ON_HOST], "/ns/1")
    assert not is_used([ON_HOST], ""), "the host's is nobody's"
    assert joiners([OWNER, GUEST, OTHER, ON_HOST], OWNER) == [GUEST]
    assert joiners([OWNER, OTHER], OWNER) == []


def test_whom_a_kept_namespace_waits_for() -> None:
    kept = [GUEST, OTHER, ON_HOST]
    assert waiting_for(kept, "own", "renamed", there("own")) == [GUEST], "the owner, whatever its name"  # type: ignore[arg-type]
    assert waiting_for(kept, "new", "vpn", there("new")) == [GUEST], "its successor"  # type: ignore[arg-type]
    assert waiting_for(kept, "new", "vpn", there("own")) == [], "not while the owner is still there, stopped"  # type: ignore[arg-type]
    assert waiting_for(kept, "new", "else", there()) == []  # type: ignore[arg-type]
    assert waiting_for([OWNER, *kept], "new", "vpn", there()) == [], "not while the owner runs"  # type: ignore[arg-type]
    assert waiting_for(kept, "hosted", "hosted", there()) == [], "the host's namespace waits for nobody"  # type: ignore[arg-type]


def test_all_that_are_left_in_one_come_along_and_those_of_another_do_not() -> None:
    second = LiveSandbox("second", "s1", "/ns/1", shared_with="own", shared_name="vpn")
    older = LiveSandbox("older", "s0", "/ns/0", shared_with="gone", shared_name="vpn")
    assert waiting_for([older, GUEST, second], "own", "vpn", there("own")) == [GUEST, second]  # type: ignore[arg-type]
    assert waiting_for([older, GUEST, second], "new", "vpn", there()) == [older]  # type: ignore[arg-type]
