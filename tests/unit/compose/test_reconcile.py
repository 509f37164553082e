"""What is planned for a wanted and a seen state; no engine is asked."""

from __future__ import annotations

from typing import Any

import pytest

from berth.compose import labels
from berth.compose.errors import ComposeFault
from berth.compose.hashing import resource_hash, service_hash
from berth.compose.model import Project
from berth.compose.operations import Act, order
from berth.compose.reconcile import DownOptions, Outcome, UpOptions, plan_down, plan_up
from berth.compose.seen import Container, Observed, container_from

IMAGE = "sha256:" + "1" * 64


def project(**services: dict[str, Any]) -> Project:
    """Make a project `p` whose services run busybox on the default network unless they say otherwise."""
    full = {
        name: {
            "image": "busybox",
            "command": None,
            **({} if "network_mode" in keys else {"networks": {"default": None}}),
            **keys,
        }
        for name, keys in services.items()
    }
    volumes = {
        m["source"]: {"name": f"p_{m['source']}"}
        for s in full.values()
        for m in s.get("volumes", ())
        if m.get("source")
    }
    networks = {"default": {"name": "p_default", "ipam": {}}}
    return Project("p", "/p", ("/p/compose.yaml",), full, {}, networks, volumes, {}, {}, {}, {})


def container(wanted: Project, service: str, number: int = 1, **changes: Any) -> Container:
    """Make the container a service would have if all were well, with some things changed."""
    name = changes.pop("name", f"p-{service}-{number}")
    marks = {
        labels.PROJECT: "p",
        labels.SERVICE: service,
        labels.NUMBER: str(number),
        labels.ONEOFF: changes.pop("oneoff", "False"),
        labels.IMAGE: changes.pop("image", IMAGE),
        labels.CONFIG_HASH: service_hash(wanted, wanted.services[service]) if service in wanted.services else "?",
        **changes.pop("labels", {}),
    }
    networks = changes.pop("networks", {"p_default": {"NetworkID": "n1"}})
    return container_from(
        {
            "Id": changes.pop("id", f"{service}{number}".ljust(64, "0")),
            "Names": [f"/{name}"],
            "Labels": marks,
            "State": changes.pop("state", "running"),
            "ImageID": IMAGE,
            "NetworkSettings": {"Networks": networks},
            "Mounts": changes.pop("mounts", []),
            **changes,
        }
    )


def seen(wanted: Project, *containers: Container, **changes: Any) -> Observed:
    """Make a look at an engine that has the networks, volumes and the image of the project."""
    networks = {
        n["name"]: {"Id": "n1", "Labels": {labels.PROJECT: "p", labels.CONFIG_HASH: resource_hash(n)}}
        for n in wanted.networks.values()
    }
    volumes = {
        v["name"]: {"Labels": {labels.PROJECT: "p", labels.CONFIG_HASH: resource_hash(v)}}
        for v in wanted.volumes.values()
    }
    look = Observed(containers, networks, volumes, {"busybox": {"Id": IMAGE}})
    return look._replace(**changes)


def up(wanted: Project, look: Observed, **options: Any) -> Outcome:
    return plan_up(wanted, look, UpOptions(frozenset(options.pop("services", wanted.services)), **options))


def keys(outcome: Outcome) -> list[str]:
    return [operation.key for operation in outcome.operations]


def needs(outcome: Outcome, key: str) -> set[str]:
    """Return everything `key` needs, directly or not."""
    by_key = {operation.key: operation for operation in outcome.operations}
    found: set[str] = set()
    todo = [key]
    while todo:
        operation = by_key.get(todo.pop())
        for need in operation.needs if operation else ():
            if need not in found:
                found.add(need)
                todo.append(need)
    return found & by_key.keys()


EMPTY = Observed((), {}, {}, {"busybox": {"Id": IMAGE}})


def test_from_nothing_everything_is_made_in_order() -> None:
    wanted = project(a={"depends_on": {"b": {"condition": "service_started"}}}, b={})
    outcome = up(wanted, EMPTY)
    assert set(keys(outcome)) == {"network default", "create p-a-1", "create p-b-1", "start p-a-1", "start p-b-1"}
    assert needs(outcome, "create p-a-1") == {"network default"}
    assert needs(outcome, "start p-a-1") >= {"start p-b-1", "create p-a-1"}


def test_what_is_as_wanted_is_left_alone() -> None:
    wanted = project(a={}, b={"depends_on": {"a": {"condition": "service_healthy"}}})
    outcome = up(wanted, seen(wanted, container(wanted, "a"), container(wanted, "b")))
    assert outcome.operations == ()
    assert [c.name for c in outcome.unchanged] == ["p-a-1", "p-b-1"]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"labels": {labels.CONFIG_HASH: "other"}}, "its configuration changed"),
        ({"image": "sha256:old"}, "its image changed"),
        ({"networks": {}}, "it is not on network p_default"),
        ({"networks": {"p_default": {"NetworkID": "gone"}}}, "its network p_default was replaced"),
        ({"state": "dead"}, "it is dead"),
    ],
)
def test_why_a_container_is_made_anew(changes: dict[str, Any], cause: str) -> None:
    wanted = project(a={})
    outcome = up(wanted, seen(wanted, container(wanted, "a", **changes)))
    create = next(operation for operation in outcome.operations if operation.act is Act.RECREATE)
    assert create.cause == cause
    alive = changes.get("state") != "dead"
    assert [o.key for o in order(outcome.operations)] == [
        "create p-a-1", *(["stop p-a-1"] if alive else []), "remove p-a-1", "rename p-a-1", "start p-a-1",
    ]  # fmt: skip
    assert up(wanted, seen(wanted, container(wanted, "a", **changes)), no_recreate=True).operations == () or not alive


def test_anonymous_volumes_are_handed_on_unless_renewed() -> None:
    wanted = project(a={})
    mounts = [
        {"Type": "volume", "Name": "f" * 64, "Destination": "/d"},
        {"Type": "volume", "Name": "named", "Destination": "/n"},
    ]
    old = container(wanted, "a", mounts=mounts, labels={labels.CONFIG_HASH: "other"})
    create, *_, remove = (o for o in up(wanted, seen(wanted, old)).operations if o.act in {Act.RECREATE, Act.REMOVE})
    assert create.want is not None
    assert (create.want.inherited, remove.thorough) == ({"/d": "f" * 64}, False)
    create, *_, remove = (
        o for o in up(wanted, seen(wanted, old), renew_anonymous=True).operations if o.act in {Act.RECREATE, Act.REMOVE}
    )
    assert create.want is not None
    assert (create.want.inherited, remove.thorough) == ({}, True)


def test_a_missing_named_volume_is_made_and_mounted() -> None:
    wanted = project(a={"volumes": [{"type": "volume", "source": "v", "target": "/v"}]})
    outcome = up(wanted, seen(wanted, container(wanted, "a"), volumes={}))
    assert "volume v" in keys(outcome)
    assert "volume v" in needs(outcome, "create p-a-1")


@pytest.mark.parametrize(
    ("condition", "act"), [("service_healthy", Act.AWAIT_HEALTHY), ("service_completed_successfully", Act.AWAIT_EXIT)]
)
def test_conditions_are_waited_for_once_per_container(condition: str, act: Act) -> None:
    depends = {"depends_on": {"b": {"condition": condition}}}
    wanted = project(a=depends, b={}, c=depends)
    outcome = up(wanted, EMPTY)
    waits = [operation for operation in outcome.operations if operation.act is act]
    assert len(waits) == 1
    assert waits[0].needs == ("start p-b-1",)
    assert waits[0].key in needs(outcome, "start p-a-1") & needs(outcome, "start p-c-1")


def test_a_running_dependency_is_still_waited_for() -> None:
    wanted = project(a={"depends_on": {"b": {"condition": "service_healthy"}}}, b={})
    outcome = up(wanted, seen(wanted, container(wanted, "b")))
    wait = next(operation for operation in outcome.operations if operation.act is Act.AWAIT_HEALTHY)
    assert wait.container is not None


def test_an_optional_condition_is_optional() -> None:
    wanted = project(a={"depends_on": {"b": {"condition": "service_healthy", "required": False}}}, b={})
    assert [o.optional for o in up(wanted, EMPTY).operations if o.act is Act.AWAIT_HEALTHY] == [True]


def test_dependents_restart_around_the_new_container() -> None:
    wanted = project(a={"depends_on": {"b": {"condition": "service_started", "restart": True}}}, b={}, c={})
    look = seen(
        wanted, container(wanted, "a"), container(wanted, "b", labels={labels.CONFIG_HASH: "x"}), container(wanted, "c")
    )
    outcome = up(wanted, look)
    assert "stop p-a-1" in needs(outcome, "stop p-b-1")
    assert {"stop p-a-1", "start p-b-1"} <= needs(outcome, "start p-a-1")
    assert not [key for key in keys(outcome) if "p-c-1" in key]


def test_restarts_go_on_to_those_who_share_a_namespace() -> None:
    wanted = project(
        a={"depends_on": {"b": {"condition": "service_started", "restart": True}}},
        b={},
        s={"network_mode": "service:a", "depends_on": {"a": {"condition": "service_started", "restart": True}}},
    )
    look = seen(
        wanted,
        container(wanted, "a"),
        container(wanted, "b", labels={labels.CONFIG_HASH: "x"}),
        container(wanted, "s", networks={}),
    )
    outcome = up(wanted, look)
    assert "start p-s-1" in keys(outcome)
    assert "stop p-s-1" in needs(outcome, "stop p-a-1")


def test_a_borrower_is_made_anew_with_its_lender() -> None:
    wanted = project(a={}, s={"network_mode": "service:a", "depends_on": {"a": {"condition": "service_started"}}})
    look = seen(wanted, container(wanted, "a", labels={labels.CONFIG_HASH: "x"}), container(wanted, "s", networks={}))
    outcome = up(wanted, look)
    assert "create p-a-1" in needs(outcome, "create p-s-1")
    stale = container(wanted, "s", networks={}, HostConfig={"NetworkMode": "container:elsewhere"})
    outcome = up(wanted, seen(wanted, container(wanted, "a"), stale))
    assert [o.cause for o in outcome.operations if o.act is Act.RECREATE] == ["it shares with a, which was made anew"]


def test_scaling_down_takes_obsolete_ones_then_high_numbers() -> None:
    wanted = project(a={"scale": 2})
    three = [container(wanted, "a", n) for n in (1, 2, 3)]
    assert keys(up(wanted, seen(wanted, *three))) == ["stop p-a-3", "remove p-a-3"]
    three[0] = container(wanted, "a", 1, labels={labels.CONFIG_HASH: "old"})
    assert keys(up(wanted, seen(wanted, *three))) == ["stop p-a-1", "remove p-a-1"]


def test_scaling_up_counts_on() -> None:
    wanted = project(a={"scale": 3})
    outcome = up(wanted, seen(wanted, container(wanted, "a", 2)))
    assert [o.target for o in outcome.operations if o.act is Act.CREATE] == ["p-a-3", "p-a-4"]


def test_an_interrupted_recreation_is_cleaned_up() -> None:
    wanted = project(a={})
    old = container(wanted, "a")
    half = container(wanted, "a", id="b" * 64, name="a1000000000_p-a-1", state="created")
    assert keys(up(wanted, seen(wanted, old, half))) == ["remove a1000000000_p-a-1"]
    # The old one was already gone when it stopped: only the name is missing.
    assert keys(up(wanted, seen(wanted, half))) == ["rename p-a-1", "start p-a-1"]


def test_orphans_are_told_or_removed() -> None:
    wanted = project(a={})
    look = seen(
        wanted,
        container(wanted, "a"),
        container(wanted, "gone"),
        container(wanted, "a", 0, oneoff="True", state="exited", name="p-a-run-1"),
    )
    outcome = up(wanted, look)
    assert outcome.operations == ()
    assert "p-gone-1" in outcome.warnings[0]
    assert {o.target for o in up(wanted, look, remove_orphans=True).operations if o.act is Act.REMOVE} == {
        "p-gone-1",
        "p-a-run-1",
    }


def test_a_changed_network_is_replaced_under_its_containers() -> None:
    wanted = project(a={}, b={})
    look = seen(wanted, container(wanted, "a"), container(wanted, "b"))
    look.networks["p_default"]["Labels"][labels.CONFIG_HASH] = "old"
    outcome = up(wanted, look, services={"a"})
    assert [o.key for o in order(outcome.operations)] == [
        "disconnect p-a-1 default",
        "disconnect p-b-1 default",
        "remove network default",
        "network default",
        "connect p-a-1 default",
        "connect p-b-1 default",
    ]
    assert not [o for o in outcome.operations if o.act in {Act.STOP, Act.RECREATE}]


def test_a_changed_network_stays_where_strangers_use_it() -> None:
    wanted = project(a={})
    look = seen(wanted, container(wanted, "a"))
    look.networks["p_default"].update(
        {"Labels": {labels.PROJECT: "p", labels.CONFIG_HASH: "old"}, "Containers": {"x": {"Name": "stranger"}}}
    )
    outcome = up(wanted, look)
    assert outcome.operations == ()
    assert "stranger" in outcome.warnings[0]


def test_changed_volumes_keep_their_data() -> None:
    wanted = project(a={"volumes": [{"type": "volume", "source": "v", "target": "/v"}]})
    look = seen(wanted, container(wanted, "a", mounts=[{"Type": "volume", "Name": "p_v", "Destination": "/v"}]))
    look.volumes["p_v"]["Labels"][labels.CONFIG_HASH] = "old"
    outcome = up(wanted, look)
    assert outcome.operations == ()
    assert "data is kept" in outcome.warnings[0]


def test_external_things_must_be_there() -> None:
    wanted = project(a={})
    wanted.networks["default"].update({"external": True})
    with pytest.raises(ComposeFault, match="network p_default declared as external, but could not be found"):
        up(wanted, EMPTY)


def test_foreign_things_are_used_with_a_warning() -> None:
    wanted = project(a={})
    look = seen(wanted, container(wanted, "a"), networks={"p_default": {"Id": "n1", "Labels": {}}})
    outcome = up(wanted, look)
    assert outcome.operations == ()
    assert "external: true" in outcome.warnings[0]


def test_down_goes_backwards() -> None:
    wanted = project(a={"depends_on": {"b": {"condition": "service_started"}}, "stop_grace_period": "3s"}, b={})
    outcome = plan_down(
        wanted, seen(wanted, container(wanted, "a"), container(wanted, "b")), DownOptions(), from_files=True
    )
    assert "remove p-a-1" in needs(outcome, "stop p-b-1")
    assert needs(outcome, "remove network p_default") >= {"remove p-a-1", "remove p-b-1"}
    assert next(o for o in outcome.operations if o.key == "stop p-a-1").timeout == 3


def test_down_leaves_volumes_unless_asked_and_externals_always() -> None:
    wanted = project(a={"volumes": [{"type": "volume", "source": "v", "target": "/v"}]})
    look = seen(wanted, container(wanted, "a"))
    assert "remove volume p_v" not in keys(plan_down(wanted, look, DownOptions(), from_files=True))
    assert "remove volume p_v" in keys(plan_down(wanted, look, DownOptions(volumes=True), from_files=True))
    wanted.volumes["v"]["external"] = True
    assert "remove volume p_v" not in keys(plan_down(wanted, look, DownOptions(volumes=True), from_files=True))


def test_plans_do_not_depend_on_the_order_of_what_is_seen() -> None:
    wanted = project(a={"scale": 2}, b={"depends_on": {"a": {"condition": "service_healthy"}}})
    two = [container(wanted, "a", 1, state="exited"), container(wanted, "a", 2, labels={labels.CONFIG_HASH: "x"})]
    assert sorted(keys(up(wanted, seen(wanted, *two)))) == sorted(keys(up(wanted, seen(wanted, *reversed(two)))))
