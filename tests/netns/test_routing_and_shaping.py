"""Policy rules and queueing disciplines as this engine's codec asks for them, seen by pyroute2 and by packets."""

import json
import socket
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from berth.base.errors import SystemFault
from berth.kernel import link, netlink, netns, routing, shaping
from berth.kernel.actuator import KernelActuator
from berth.plan.steps.replies import ForgetReplies, RouteReplies
from berth.plan.steps.shape import ShapeLink
from tests.netns.throwaway import isolated
from tests.scenarios.inside import delays
from tests.support import uml

pytestmark = pytest.mark.root


def _pair(place: Path) -> str:
    """A namespace with a link ``eth0`` at 10.1.0.2 and fd01::2, whose other end here is ``near``."""
    path = str(place / "ns")
    netns.create(path)
    with netns.opened(path) as fd:
        link.host().send(netlink.new_veth("near", peer="eth0", peer_mac="02:00:00:00:00:02", namespace_fd=fd, mtu=1500))
    Path("/proc/sys/net/ipv6/conf/near/disable_ipv6").write_text("0")
    netns.inside(path, Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text, "0")
    with link.inside(path) as there:
        index = there.index("eth0")
        there.send(
            netlink.new_address(index, "10.1.0.2", 24),
            netlink.new_address(index, "fd01::2", 64),
            netlink.set_up("eth0"),
        )
    link.host().send(netlink.set_up("near"))
    return path


def _witness(namespace: str) -> tuple[list[tuple[int, str, int]], list[tuple[int, str, str]]]:
    """What pyroute2 sees: rules (priority, source, table), and routes (table, destination, gateway) of our tables."""

    def look() -> tuple[list[tuple[int, str, int]], list[tuple[int, str, str]]]:
        rules, routes = [], []
        with IPRoute() as ipr:
            for family in (socket.AF_INET, socket.AF_INET6):
                for rule in ipr.get_rules(family=family):
                    if rule.get_attr("FRA_SRC"):
                        rules.append(
                            (rule.get_attr("FRA_PRIORITY"), rule.get_attr("FRA_SRC"), rule.get_attr("FRA_TABLE"))
                        )
                for route in ipr.get_routes(family=family):
                    table = route.get_attr("RTA_TABLE")
                    if table is not None and table > routing.FIRST_TABLE:
                        routes.append((table, route.get_attr("RTA_DST") or "", route.get_attr("RTA_GATEWAY") or ""))
        return sorted(rules), sorted(routes)

    return netns.inside(namespace, look)


@isolated
def test_answers_have_a_rule_and_a_table_and_both_go_again(tmp_path: Path) -> None:
    namespace, kernel = _pair(tmp_path), KernelActuator()
    with link.inside(namespace) as there:
        table = routing.FIRST_TABLE + there.index("eth0")
    four = RouteReplies(namespace, "eth0", "10.1.0.2/24", "10.1.0.1")
    six = RouteReplies(namespace, "eth0", "fd01::2/64", "fd01::1")
    undo = [kernel.apply(four), kernel.apply(six)]
    rules, routes = _witness(namespace)
    assert rules == [(routing.PRIORITY, "10.1.0.2", table), (routing.PRIORITY, "fd01::2", table)]
    assert routes == [(table, "", "10.1.0.1"), (table, "", "fd01::1"), (table, "10.1.0.0", ""), (table, "fd01::", "")]
    with link.inside(namespace) as there:
        assert routing.reply_rules(there, socket.AF_INET) == [routing.Rule(routing.PRIORITY, "10.1.0.2", table)]
        assert routing.reply_rules(there, socket.AF_INET6) == [routing.Rule(routing.PRIORITY, "fd01::2", table)]
    assert undo == [
        ForgetReplies(namespace, "eth0", "10.1.0.2/24", "10.1.0.1"),
        ForgetReplies(namespace, "eth0", "fd01::2/64", "fd01::1"),
    ]
    assert kernel.apply(undo[0]) == four  # type: ignore[arg-type]
    assert kernel.apply(undo[1]) == six  # type: ignore[arg-type]
    assert _witness(namespace) == ([], [])
    assert kernel.apply(undo[0]) is None, "what is gone already changes nothing"  # type: ignore[arg-type]


@isolated
def test_a_gateway_out_of_reach_is_refused_and_leaves_no_route(tmp_path: Path) -> None:
    namespace = _pair(tmp_path)
    with pytest.raises(SystemFault, match=r"answers by 10\.9\.0\.1"):
        KernelActuator().apply(RouteReplies(namespace, "eth0", "10.1.0.2/24", "10.9.0.1"))
    assert _witness(namespace) == ([], [])


def _disciplines(namespace: str, name: str) -> list[tuple[str, int]]:
    """What pyroute2 sees of limits: kind and rate."""

    def look() -> list[tuple[str, int]]:
        with IPRoute() as ipr:
            found = []
            for one in ipr.get_qdiscs(index=socket.if_nametoindex(name)):
                options = one.get_attr("TCA_OPTIONS")
                parms = options.get_attr("TCA_TBF_PARMS") if one.get_attr("TCA_KIND") == "tbf" else None
                found.append((one.get_attr("TCA_KIND"), parms["rate"] if parms else 0))
            return found

    return netns.inside(namespace, look) if namespace else look()


@isolated
def test_a_rate_limit_is_set_changed_and_taken_away(tmp_path: Path) -> None:
    namespace, kernel = _pair(tmp_path), KernelActuator()
    before = _disciplines("", "near"), _disciplines(namespace, "eth0")
    for where, name in (("", "near"), (namespace, "eth0")):
        undo = kernel.apply(ShapeLink(where, name, 125_000))
        assert _disciplines(where, name) == [("tbf", 125_000)]
        changed = kernel.apply(ShapeLink(where, name, 1_250_000, before=(125_000, 0, 0)))
        assert _disciplines(where, name) == [("tbf", 1_250_000)]
        kernel.apply(changed)  # type: ignore[arg-type]
        assert _disciplines(where, name) == [("tbf", 125_000)]
        kernel.apply(undo)  # type: ignore[arg-type]
    assert (_disciplines("", "near"), _disciplines(namespace, "eth0")) == before
    kernel.apply(ShapeLink("", "near"))
    assert _disciplines("", "near") == before[0], "no limit can be taken away twice"


@isolated
def test_our_reading_of_a_rate_is_the_witness_s(tmp_path: Path) -> None:
    _pair(tmp_path)
    assert shaping.rate_of(link.host(), "near") == 0
    for rate in (1_000, 125_000_000, 12_500_000_000):
        KernelActuator().apply(ShapeLink("", "near", rate))
        assert shaping.rate_of(link.host(), "near") == rate
    link.delete("near")


@isolated
def test_a_delay_without_netem_says_so_and_keeps_the_limit_there_was(tmp_path: Path) -> None:
    _pair(tmp_path)
    kernel = KernelActuator()
    kernel.apply(ShapeLink("", "near", 125_000))
    wanted = ShapeLink("", "near", 0, delay_us=50_000, before=(125_000, 0, 0))
    if Path("/sys/module/sch_netem").exists():  # a kernel that has it: then it works
        kernel.apply(wanted)
        assert [kind for kind, _ in _disciplines("", "near")] == ["netem"]
        return
    with pytest.raises(SystemFault, match="sch_netem"):
        kernel.apply(wanted)
    assert _disciplines("", "near") == [("tbf", 125_000)]


def test_delay_and_loss_in_a_kernel_that_has_netem(tmp_path: Path) -> None:
    if reason := uml.is_missing():
        pytest.skip(reason)
    tmp_path.chmod(0o755)
    ran = uml.run(Path(delays.__file__), tmp_path, modules=("veth", "sch_netem", "sch_tbf"))
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["before_ms"] < 20
    assert 50 <= told["delayed_ms"] < 100
    assert told["delayed"] == ["netem"]
    assert 20 <= told["both_ms"] < 60
    assert told["both"] == ["netem", "tbf"]
    assert 0.6 * delays.SENT < told["arrived"] < 0.9 * delays.SENT, "a quarter is lost"
    assert told["after_ms"] < 20
    assert told["after"] == told["disciplines"]
    assert told["all"] == delays.SENT
