import pytest

from berth.containers.health import HEALTHY, STARTING, UNHEALTHY, check_argv, judge, pause_ns
from berth.containers.model import Health, HealthProbe
from berth.wire.containers import ContainerConfig, Healthcheck

S = 1_000_000_000


def probe(code: int, start_s: int = 100) -> HealthProbe:
    return HealthProbe(start_ns=start_s * S, end_ns=start_s * S + 1, exit_code=code, output=str(start_s))


@pytest.mark.parametrize(
    ("test", "argv"),
    [(["CMD", "a", "b"], ("a", "b")), (["CMD-SHELL", "a b"], ("/bin/sh", "-c", "a b")), (["NONE"], ()), ([], ()),
     (None, ()), (["CMD-SHELL"], ())],
)  # fmt: skip
def test_what_is_run(test: list[str] | None, argv: tuple[str, ...]) -> None:
    assert check_argv(ContainerConfig(healthcheck=Healthcheck(test=test))) == argv


def test_the_images_shell_is_used() -> None:
    config = ContainerConfig(healthcheck=Healthcheck(test=["CMD-SHELL", "x"]), shell=["/bin/ash", "-ec"])
    assert check_argv(config) == ("/bin/ash", "-ec", "x")


def test_one_success_is_healthy_and_three_failures_are_not() -> None:
    check = Healthcheck()
    health = judge(Health(), probe(0), check, 0)
    assert (health.status, health.failing_streak) == (HEALTHY, 0)
    for expected in (HEALTHY, HEALTHY, UNHEALTHY):
        health = judge(health, probe(1), check, 0)
        assert health.status == expected
    assert judge(health, probe(0), check, 0).status == HEALTHY


def test_failures_while_starting_do_not_count() -> None:
    check = Healthcheck(start_period=50 * S, retries=1)
    health = judge(Health(), probe(1, 40), check, 0)
    assert (health.status, health.failing_streak) == (STARTING, 0)
    assert judge(health, probe(1, 60), check, 0).status == UNHEALTHY


def test_the_last_five_results_are_kept() -> None:
    health = Health()
    for number in range(8):
        health = judge(health, probe(0, number), Healthcheck(), 0)
    assert [one.output for one in health.log] == ["3", "4", "5", "6", "7"]


def test_it_is_checked_more_often_while_starting() -> None:
    check = Healthcheck(start_period=50 * S, start_interval=2 * S, interval=20 * S)
    assert pause_ns(Health(), check, 0, 10 * S) == 2 * S
    assert pause_ns(Health(), check, 0, 60 * S) == 20 * S
    assert pause_ns(Health(status=HEALTHY), check, 0, 10 * S) == 20 * S
    assert pause_ns(Health(), Healthcheck(start_period=50 * S), 0, 10 * S) == 5 * S
