from berth.networks.dns.health import DEAD_AFTER, MAX_START_S, MIN_START_S, Health, in_order
from berth.networks.dns.model import Upstream

ONE, TWO, THREE = (Upstream(f"192.0.2.{i}") for i in (1, 2, 3))


class Ward:
    def __init__(self) -> None:
        self.known: dict[Upstream, Health] = {}

    def __call__(self, upstream: Upstream) -> Health:
        return self.known.setdefault(upstream, Health())


def test_the_well_are_asked_as_given_the_ill_last() -> None:
    ward = Ward()
    assert in_order((ONE, TWO, THREE), ward, 0.0) == ([ONE, TWO, THREE], [])
    ward(ONE).was_silent(0.0, "no reply")
    assert in_order((ONE, TWO, THREE), ward, 0.5) == ([TWO, THREE, ONE], [])


def test_an_ill_one_is_tried_beside_the_others_once_in_a_while() -> None:
    ward = Ward()
    ward(ONE).was_silent(0.0, "no reply")
    assert in_order((ONE, TWO), ward, 1.0) == ([TWO], [ONE])
    assert in_order((ONE, TWO), ward, 1.0) == ([TWO, ONE], []), "one probe at a time"
    ward(ONE).was_there(0.01)
    assert in_order((ONE, TWO), ward, 1.1) == ([ONE, TWO], [])


def test_where_all_are_ill_all_are_asked_in_order() -> None:
    ward = Ward()
    for one in (ONE, TWO):
        ward(one).was_silent(0.0, "no reply")
    assert in_order((ONE, TWO), ward, 0.0) == ([ONE, TWO], [])


def test_death_is_told_once_and_so_is_the_return() -> None:
    health = Health()
    assert [health.was_silent(float(i), "no reply") for i in range(5)] == [i == DEAD_AFTER - 1 for i in range(5)]
    assert health.retry_at == 4 + 16
    assert health.was_there(0.01)
    assert not health.was_there(0.01)
    assert (health.unheard, health.answered, health.dead_since) == (5, 2, None)


def test_pauses_grow_up_to_half_a_minute() -> None:
    health = Health()
    for _ in range(30):
        health.was_silent(0.0, "")
    assert health.retry_at == 30.0


def test_the_head_start_follows_what_is_usual() -> None:
    health = Health()
    assert health.start_s == MAX_START_S
    health.was_there(0.03)
    assert round(health.start_s, 6) == 0.09
    for _ in range(100):
        health.was_there(0.0001)
    assert health.start_s == MIN_START_S
    for _ in range(100):
        health.was_there(3.0)
    assert health.start_s == MAX_START_S
