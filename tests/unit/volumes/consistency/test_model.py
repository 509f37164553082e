"""How flags and labels say how still users of a volume hold."""

import pytest

from berth.base.errors import InvalidArgument
from berth.volumes.consistency.model import MODE_LABEL, Mode, Wish, Writer, choose, hooks, parse_command, parse_mode


def writer(**labels: str) -> Writer:
    return Writer(id="a", name="a", labels={key.replace("_", "."): value for key, value in labels.items()})


def test_a_flag_goes_before_labels_those_of_volumes_before_those_of_containers() -> None:
    volume, container = {MODE_LABEL: "stop"}, writer(berth_backup_consistency="none")
    assert choose(Wish(mode=Mode.PAUSE), [volume], [container]) is Mode.PAUSE
    assert choose(Wish(), [volume], [container]) is Mode.STOP
    assert choose(Wish(), [{}], [container]) is Mode.NONE
    assert choose(Wish(default=Mode.HOOK), [{}], [writer()]) is Mode.HOOK


def test_of_several_labels_the_most_careful_wins() -> None:
    said = [writer(berth_backup_consistency=mode) for mode in ("none", "hook", "freeze", "pause", "stop")]
    for count, expected in enumerate((Mode.NONE, Mode.HOOK, Mode.FREEZE, Mode.PAUSE, Mode.STOP), 1):
        assert choose(Wish(), [], said[:count]) is expected


def test_an_unknown_mode_is_named_with_its_place() -> None:
    assert parse_mode("") is None
    with pytest.raises(InvalidArgument, match='invalid consistency "still": known are none, pause, stop'):
        parse_mode("still")
    with pytest.raises(InvalidArgument, match=f'invalid label {MODE_LABEL} "x"'):
        choose(Wish(), [{MODE_LABEL: "x"}], [])


def test_hooks_come_from_labels_unless_flags_say_them() -> None:
    one = writer(berth_backup_pre="sync; sync", berth_backup_post='["psql", "-c", "SELECT 1"]')
    assert hooks(Wish(), one).pre == ("/bin/sh", "-c", "sync; sync")
    assert hooks(Wish(), one).post == ("psql", "-c", "SELECT 1")
    assert hooks(Wish(pre="true"), one).pre == ("/bin/sh", "-c", "true")
    assert hooks(Wish(), writer()).pre == ()


@pytest.mark.parametrize("text", ["[", '["a", 1]', "[]", '[["a"]]'])
def test_a_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid hook"):
        parse_command(text)
