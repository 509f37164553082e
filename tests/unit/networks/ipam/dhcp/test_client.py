"""What a client makes of an answer, and by what a server knows a container."""

import pytest

from berth.networks.ipam.dhcp.client import Heard, Identity, NoLease, identity, read_lease, stable_mac
from berth.networks.ipam.dhcp.message import (
    LEASE_TIME,
    MASK,
    REBINDING_TIME,
    RENEWAL_TIME,
    ROUTER,
    SERVER,
    Message,
    Op,
)

MAC = bytes.fromhex("02420a090002")
SENDER = bytes.fromhex("020000000001")
WHO = Identity(b"\x01" + MAC, "web")


def seconds(number: int) -> bytes:
    return number.to_bytes(4, "big")


def ack(yours: str = "10.9.0.2", **more: bytes) -> Heard:
    options = {SERVER: bytes((10, 9, 0, 1)), LEASE_TIME: seconds(800), MASK: bytes((255, 255, 254, 0))}
    names = {
        "server": SERVER,
        "time": LEASE_TIME,
        "mask": MASK,
        "t1": RENEWAL_TIME,
        "t2": REBINDING_TIME,
        "way": ROUTER,
    }
    options |= {names[key]: value for key, value in more.items()}
    return Heard(Message(op=Op.SERVER, xid=1, mac=MAC, yours=yours, options=options), SENDER)


def test_a_lease_with_times_of_its_own_and_with_the_usual_ones() -> None:
    lease = read_lease(ack(way=bytes((10, 9, 0, 254, 10, 9, 0, 253))), WHO, 5_000_000_000)
    assert (lease.address, lease.prefix, lease.router, lease.server) == ("10.9.0.2", 23, "10.9.0.254", "10.9.0.1")
    assert (lease.seconds, lease.renewal, lease.rebinding, lease.ends_ns) == (800, 400, 700, 805_000_000_000)
    assert (lease.server_mac, lease.client_id, lease.hostname) == (SENDER.hex(), "0102420a090002", "web")
    lease = read_lease(ack(t1=seconds(100), t2=seconds(200)), WHO, 0)
    assert (lease.renewal, lease.rebinding) == (100, 200)
    lease = read_lease(ack(t1=seconds(300), t2=seconds(200)), WHO, 0)
    assert (lease.renewal, lease.rebinding) == (400, 700), "what contradicts itself is not believed"


def test_a_lease_for_ever() -> None:
    lease = read_lease(ack(time=seconds(0xFFFF_FFFF)), WHO, 5)
    assert (lease.seconds, lease.ends_ns) == (0, 0)


@pytest.mark.parametrize(
    "more",
    [{"server": b""}, {"time": b""}, {"time": seconds(0)}, {"mask": bytes((255, 0, 255, 0))}, {"mask": bytes(4)}],
)
def test_leases_that_make_no_sense(more: dict[str, bytes]) -> None:
    with pytest.raises(NoLease):
        read_lease(ack(**more), WHO, 0)
    with pytest.raises(NoLease):
        read_lease(ack("0.0.0.0"), WHO, 0)


def test_who_a_container_is() -> None:
    mac = stable_mac("n1", "web")
    assert mac == stable_mac("n1", "web")
    assert mac != stable_mac("n2", "web")
    assert int(mac[:2], 16) & 3 == 2, "locally administered, of one link"
    assert identity("n1", "web", "web", mac).client_id == b"\x01" + bytes.fromhex(mac.replace(":", ""))
    shared = identity("n1", "web", "web", "").client_id
    assert shared != identity("n1", "db", "db", "").client_id
    assert shared[0] == 0
