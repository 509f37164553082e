"""Notes of networks' changes: written as they are read."""

from pathlib import Path

import msgspec

from berth.networks.changes import notes
from berth.networks.changes.notes import Change
from berth.networks.model import LiveEndpoint, LiveSandbox, NetworkRecord, Pool, Tenant
from berth.plan.steps.note import WriteNote

OLD = NetworkRecord("a" * 64, "red", "bridge", 1, pools=(Pool("10.1.0.0/24", "10.1.0.1"),), bridge="br-a")
LIVE = LiveSandbox("c" * 64, "s", "/ns", (LiveEndpoint(OLD.id, "red", "e" * 64, link="eth0"),))


def test_a_note_says_the_whole_change_and_goes(tmp_path: Path) -> None:
    new = msgspec.structs.replace(OLD, name="crimson")
    tenant = Tenant("c" * 64, "one", mode="red")
    change = Change(OLD, new, ((tenant, msgspec.structs.replace(tenant, mode="crimson")),), ((LIVE, LIVE),))
    assert list(notes.left(tmp_path)) == []
    step = notes.planned(tmp_path, change).step
    assert isinstance(step, WriteNote)
    Path(step.path).write_text(step.text)
    assert list(notes.left(tmp_path)) == [change]
    notes.drop(tmp_path, change)
    notes.drop(tmp_path, change)
    assert list(notes.left(tmp_path)) == []
