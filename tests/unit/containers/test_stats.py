from berth.containers.stats import (
    device_lines_v1,
    device_lines_v2,
    empty,
    following,
    keyed,
    network_counters,
    system_usage_ns,
)
from tests.unit.containers.execs.test_spec import record

NET = "\n".join(
    (
        "Inter-|   Receive                           |  Transmit",
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier",
        "    lo:     100    1    0    0    0     0          0         0      100       1    0    0    0     0       0",
        "  eth0:    1296   16    2    3    0     0          0         0      446       7    4    5    0     0       0",
    )
)


def test_the_loopback_is_left_out() -> None:
    assert network_counters(NET) == {
        "eth0": {"rx_bytes": 1296, "rx_packets": 16, "rx_errors": 2, "rx_dropped": 3,
                 "tx_bytes": 446, "tx_packets": 7, "tx_errors": 4, "tx_dropped": 5}
    }  # fmt: skip
    assert network_counters("") == {}


def test_processor_time_of_the_machine() -> None:
    assert system_usage_ns("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n") == 28 * 10_000_000


def test_lines_of_names_and_numbers() -> None:
    assert keyed("cache 5\nrss 6\nbad\nlimit max\n") == {"cache": 5, "rss": 6}


def test_devices_of_both_versions() -> None:
    assert device_lines_v1("8:0 Read 10\n8:0 Write 20\nTotal 30\n") == [
        {"major": 8, "minor": 0, "op": "Read", "value": 10},
        {"major": 8, "minor": 0, "op": "Write", "value": 20},
    ]
    found = device_lines_v2("8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n")
    assert found["io_service_bytes_recursive"][1] == {"major": 8, "minor": 16, "op": "write", "value": 2}
    assert found["io_serviced_recursive"][0] == {"major": 8, "minor": 16, "op": "read", "value": 3}


def test_what_does_not_run_uses_nothing() -> None:
    sample = empty(record())
    assert sample["read"] == "0001-01-01T00:00:00Z"
    assert sample["memory_stats"] == {}
    assert sample["name"] == "/c"


def test_a_sample_carries_its_predecessor() -> None:
    before = empty(record()) | {"read": "a", "cpu_stats": {"x": 1}}
    after = following(empty(record()) | {"read": "b"}, before)
    assert (after["preread"], after["precpu_stats"]) == ("a", {"x": 1})
