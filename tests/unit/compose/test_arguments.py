"""The command line."""

from __future__ import annotations

import pytest

from berth.compose.arguments import COMMANDS, parse, usage
from berth.compose.errors import BadUsage

FLAGS = "detach/d tail/n= env/e= scale= no-color"


def test_flags_and_arguments_mix() -> None:
    got = parse(
        ["-d", "web", "--tail=5", "db", "-e", "A=1", "-eB=2", "--scale", "x=3"], FLAGS, strict=False, command="up"
    )
    assert got.has("detach")
    assert got.integer("tail") == 5
    assert got.all("env") == ["A=1", "B=2"]
    assert got.text("scale") == "x=3"
    assert got.arguments == ["web", "db"]


def test_strict_commands_leave_the_rest_alone() -> None:
    got = parse(["-d", "web", "ls", "-l", "--", "x"], FLAGS, strict=True, command="exec")
    assert got.arguments == ["web", "ls", "-l", "--", "x"]
    assert parse(["--", "-d"], FLAGS, strict=False, command="up").arguments == ["-d"]


def test_booleans_may_be_switched_off() -> None:
    assert not parse(["--detach=false"], FLAGS, strict=False, command="up").has("detach")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-x"], "unknown shorthand flag: 'x' in -x"),
        (["--tail"], "flag needs an argument: --tail"),
        (["-n"], "flag needs an argument: 'n' in -n"),
        (["--detach=maybe"], 'invalid argument "maybe"'),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(BadUsage, match=message):
        parse(words, FLAGS, strict=False, command="up")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    assert f"compose {name} [OPTIONS]" in usage(name)
    parse(["--help"], COMMANDS[name].flags, strict=False, command=name)


def test_numbers_must_be_numbers() -> None:
    with pytest.raises(BadUsage, match="not a number"):
        parse(["-n", "x"], FLAGS, strict=False, command="logs").integer("tail")
