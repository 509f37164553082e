"""What holds for any input: printing and reading back, laying documents over each other, dense graphs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from berth.compose import short
from berth.compose.emit import yaml_text
from berth.compose.load import parse
from berth.compose.merge import clean, merge
from berth.compose.model import find_cycle, levels
from berth.compose.schema import with_marks
from berth.compose.values import Map

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12) | st.sampled_from(
    [
        "on",
        "12:30",
        "010",
        "- x",
        "a: b",
        "#",
        "'",
        '"',
        "a\nb",
        "a\n",
        "\n",
        " lead",
        "trail ",
        "null",
        "~",
        "1e3",
        "!x",
        "*a",
        "&a",
        "${X}",
    ]
)
SCALAR = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
TREE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(bool), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True), TREE, min_size=1, max_size=5))
def test_what_is_printed_reads_back(tree: dict[str, Any]) -> None:
    assert parse(yaml_text(tree), "f")[0] == tree


ENVIRONMENT = st.dictionaries(st.sampled_from("ABCDE"), st.sampled_from("123"), max_size=5)
PORTS = st.lists(st.integers(1, 5), max_size=5)


def document(environment: dict[str, str], ports: list[int]) -> Map:
    entries = [{"target": port, "published": str(port), "protocol": "tcp"} for port in ports]
    found = with_marks({"services": {"a": {"environment": environment, "ports": entries}}}, None)
    assert isinstance(found, Map)
    return found


@settings(deadline=None)
@given(ENVIRONMENT, PORTS, ENVIRONMENT, PORTS, ENVIRONMENT, PORTS)
def test_laying_over_is_associative_and_keeps_the_last(
    env1: dict[str, str],
    ports1: list[int],
    env2: dict[str, str],
    ports2: list[int],
    env3: dict[str, str],
    ports3: list[int],
) -> None:
    one, two, three = document(env1, ports1), document(env2, ports2), document(env3, ports3)
    left, right = merge(merge(one, two), three), merge(one, merge(two, three))
    assert left == right
    service = left["services"]["a"]
    assert service["environment"] == {**env1, **env2, **env3}
    targets = [port["target"] for port in service["ports"]]
    assert sorted(targets) == sorted({*ports1, *ports2, *ports3})
    assert clean(merge(left, left)) == left


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_levels_respect_dependencies_or_there_is_a_cycle(edges: list[tuple[int, int]]) -> None:
    services: dict[str, dict[str, Any]] = {str(n): {"depends_on": {}} for n in range(10)}
    for one, other in edges:
        services[str(one)]["depends_on"][str(other)] = {}
    cycle = find_cycle(services)
    if cycle is None:
        order = levels(services)
        assert sorted(order) == sorted(services)
        assert all(order.index(str(other)) < order.index(str(one)) for one, other in edges)
    else:
        assert cycle[0] == cycle[-1]
        assert all(after in services[before]["depends_on"] for before, after in pairwise(cycle))


@given(st.integers(0, 10**18))
def test_durations_read_back(ns: int) -> None:
    assert short.duration_ns(short.print_duration(ns)) == ns or ns > 2**53


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=("Cc",)), max_size=6), max_size=5))
def test_quoted_words_split_again(words: list[str]) -> None:
    import shlex

    assert short.shell_words(" ".join(shlex.quote(word) for word in words)) == words
