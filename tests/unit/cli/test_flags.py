"""The grammar of flags: Go's pflag, with its complaints."""

import pytest

from berth.cli.errors import HelpWanted, UsageError
from berth.cli.flags import Flag, parse

FLAGS = (
    Flag("interactive", "i", "bool", ""),
    Flag("tty", "t", "bool", ""),
    Flag("detach", "d", "bool", ""),
    Flag("rm", "", "bool", ""),
    Flag("sig-proxy", "", "bool", "", default=True),
    Flag("publish", "p", "list", ""),
    Flag("name", "", "string", ""),
    Flag("last", "n", "int", "", default=-1),
    Flag("subnet", "", "strings", ""),
    Flag("memory", "m", "bytes", ""),
    Flag("memory-swap", "", "swap", ""),
    Flag("cpus", "", "decimal", ""),
    Flag("interval", "", "duration", ""),
    Flag("filter", "f", "filter", ""),
    Flag("network", "", "list", ""),
    Flag("net", "", "list", "", hidden=True, into="network"),
)


def test_letters_may_stand_together() -> None:
    parsed = parse(["-itd", "image"], FLAGS)
    assert [parsed.flag(name) for name in ("interactive", "tty", "detach", "rm")] == [True, True, True, False]
    assert parsed.args == ["image"]


@pytest.mark.parametrize(
    "words", [["-p", "80:80"], ["-p80:80"], ["-p=80:80"], ["--publish", "80:80"], ["--publish=80:80"]]
)
def test_a_value_may_be_joined_or_follow(words: list[str]) -> None:
    assert parse(words, FLAGS).list("publish") == ["80:80"]


def test_the_last_letter_of_a_group_may_take_a_value() -> None:
    parsed = parse(["-itp", "1", "-dp2"], FLAGS)
    assert parsed.list("publish") == ["1", "2"]
    assert parsed.flag("detach")


def test_a_boolean_never_takes_the_next_word() -> None:
    parsed = parse(["--rm", "false", "--sig-proxy=false"], FLAGS)
    assert parsed.flag("rm")
    assert not parsed.flag("sig-proxy")
    assert parsed.args == ["false"]


def test_flags_after_the_image_belong_to_the_container() -> None:
    assert parse(["-i", "image", "-t", "--name", "x"], FLAGS, interspersed=False).args == ["image", "-t", "--name", "x"]


def test_two_dashes_end_the_flags() -> None:
    assert parse(["-i", "--", "-t", "--", "x"], FLAGS).args == ["-t", "--", "x"]


def test_a_lone_dash_is_an_argument() -> None:
    assert parse(["-", "-i"], FLAGS).args == ["-"]


def test_values_are_parsed_by_kind() -> None:
    parsed = parse(
        [
            "-n5",
            "--subnet=a,b",
            "--subnet",
            "c",
            "-m",
            "64m",
            "--memory-swap",
            "-1",
            "--cpus",
            "1.5",
            "--interval",
            "1m30s",
        ],
        FLAGS,
    )
    assert parsed.number("last") == 5
    assert parsed.list("subnet") == ["a", "b", "c"]
    assert parsed.number("memory") == 64 << 20
    assert parsed.number("memory-swap") == -1
    assert parsed.number("cpus") == 1_500_000_000
    assert parsed.number("interval") == 90_000_000_000


def test_another_name_of_a_flag_is_the_same_flag() -> None:
    assert parse(["--net", "a", "--network", "b"], FLAGS).list("network") == ["a", "b"]


def test_defaults_and_what_was_given() -> None:
    parsed = parse([], FLAGS)
    assert parsed.number("last") == -1
    assert parsed.flag("sig-proxy")
    assert parsed.list("publish") == []
    assert not parsed.given("last")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-Zx"], "unknown shorthand flag: 'Z' in -Zx"),
        (["-iZ"], "unknown shorthand flag: 'Z' in -Z"),
        (["--name"], "flag needs an argument: --name"),
        (["-ip"], "flag needs an argument: 'p' in -p"),
        (["--=x"], "bad flag syntax: --=x"),
        (["-n", "x"], 'invalid argument "x" for "-n, --last" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["--rm=no"], 'invalid argument "no" for "--rm" flag: strconv.ParseBool: parsing "no": invalid syntax'),
        (["-it=x"], 'invalid argument "x" for "-t, --tty" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (["-m", "x"], 'invalid argument "x" for "-m, --memory" flag: invalid size: \'x\''),
        (["--cpus", "x"], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
    ],
)
def test_complaints_are_dockers(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words, FLAGS)
    assert (caught.value.message, caught.value.status) == (message, 125)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["-ih"]])
def test_help_is_always_there(words: list[str]) -> None:
    with pytest.raises(HelpWanted):
        parse(words, FLAGS)
