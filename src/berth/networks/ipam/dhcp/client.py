"""What a DHCP client says and does (RFC 2131, section 4.4): get a lease, keep it, give it back.

Works on one link in one namespace, whether the link has an address or not. Must not: know containers, or keep leases.
"""

import asyncio
import contextlib
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Final, NamedTuple

from berth.base.aio import in_thread
from berth.base.errors import SystemFault
from berth.kernel import packet
from berth.networks.ipam.dhcp import frame, message
from berth.networks.ipam.dhcp.frame import CLIENT_PORT, Ends
from berth.networks.ipam.dhcp.message import Message, NotDhcp, Op, Type
from berth.networks.model import Lease

#: Seconds to wait for an answer, each time longer: 7 in all (RFC 2131 begins with 4, for networks of its day).
PATIENCE_S: Final = (1.0, 2.0, 4.0)
#: The same when a lease is renewed, where there is time to try again later.
RENEWAL_S: Final = (1.0, 2.0)
#: How often a server may refuse what it has just offered.
ATTEMPTS: Final = 3
#: Bytes of a frame; DHCP messages fit the smallest MTU allowed by far.
LARGEST: Final = 9_216
FOREVER: Final = 0xFFFF_FFFF

_WANTED: Final = bytes(
    (message.MASK, message.ROUTER, message.LEASE_TIME, message.SERVER, message.RENEWAL_TIME, message.REBINDING_TIME)
)


class NoLease(SystemFault):
    """No server of the network has given an address."""


class Identity(NamedTuple):
    """Who asks: what a server recognises a container by, whenever it comes back."""

    client_id: bytes
    hostname: str


class Heard(NamedTuple):
    """An answer, and the MAC it came from: the server's, or a relay's."""

    message: Message
    sender: bytes


def identity(network_id: str, container: str, hostname: str, mac: str) -> Identity:
    """Return the identity of a container on a network: by its MAC, or by names where links share one."""
    if mac:
        return Identity(b"\x01" + bytes.fromhex(mac.replace(":", "")), hostname)
    return Identity(b"\x00" + hashlib.sha256(f"{network_id}/{container}".encode()).digest()[:12], hostname)


def stable_mac(network_id: str, container: str) -> str:
    """Return the MAC of a container that asked for none: the same again for the next container of that name."""
    return "02:42:" + hashlib.sha256(f"{network_id}/{container}".encode()).digest()[:4].hex(":")


class Line:
    """A link, as a client uses it."""

    def __init__(self, one: socket.socket, who: Identity) -> None:
        """Speak on a packet socket, which stays the caller's."""
        self._socket = one
        self._who = who
        self.mac: bytes = one.getsockname()[4]

    async def obtain(self, wanted: str, now_ns: Callable[[], int]) -> Lease:
        """Ask for a lease, of the address `wanted` if that is not empty. Raises `NoLease`."""
        for _ in range(ATTEMPTS):
            xid = random.getrandbits(32)
            offer = await self._ask(self._said(Type.DISCOVER, xid, _address(wanted)), PATIENCE_S, (Type.OFFER,))
            if offer is None:
                raise NoLease(f"no DHCP server answered within {sum(PATIENCE_S):g} s")
            chosen = {
                message.REQUESTED_ADDRESS: IPv4Address(offer.message.yours).packed,
                message.SERVER: offer.message.options.get(message.SERVER, b""),
            }
            began = now_ns()
            answer = await self._ask(self._said(Type.REQUEST, xid, chosen), PATIENCE_S, (Type.ACK, Type.NAK))
            if answer is not None and answer.message.type is Type.ACK:
                return read_lease(answer, self._who, began)
        raise NoLease(f"a DHCP server offered an address and did not give it, {ATTEMPTS} times")

    async def renew(self, lease: Lease, now_ns: Callable[[], int], *, rebinding: bool) -> Lease | None:
        """Ask to keep a lease: its server, or any when `rebinding`. None for silence. Raises `NoLease` if refused."""
        began = now_ns()
        said = self._said(Type.REQUEST, random.getrandbits(32), {}, client=lease.address)
        to = Ends(self.mac, frame.BROADCAST_MAC if rebinding else bytes.fromhex(lease.server_mac), lease.address)
        if not rebinding:
            to = to._replace(to_ip=lease.server)
        answer = await self._ask(said, RENEWAL_S, (Type.ACK, Type.NAK), to)
        if answer is None:
            return None
        if answer.message.type is Type.NAK:
            reason = answer.message.options.get(message.REASON, b"").decode(errors="replace")
            raise NoLease(f"the DHCP server takes {lease.address} back{f': {reason}' if reason else ''}")
        return read_lease(answer, self._who, began)

    async def release(self, lease: Lease) -> None:
        """Give a lease back; nobody answers to that."""
        server = {message.SERVER: IPv4Address(lease.server).packed}
        said = self._said(Type.RELEASE, random.getrandbits(32), server, client=lease.address)
        self._send(said, Ends(self.mac, bytes.fromhex(lease.server_mac), lease.address, lease.server))

    def _said(self, kind: Type, xid: int, more: dict[int, bytes], *, client: str = "0.0.0.0") -> Message:  # noqa: S104
        options = {message.MESSAGE_TYPE: bytes((kind,)), message.CLIENT_ID: self._who.client_id} | more
        if kind is not Type.RELEASE:
            options[message.PARAMETERS] = _WANTED
            if self._who.hostname:
                options[message.HOST_NAME] = self._who.hostname.encode()[:255]
        # links that share a MAC are told apart by address, so that what has none yet hears broadcasts only
        asking = client == "0.0.0.0"  # noqa: S104
        return Message(op=Op.CLIENT, xid=xid, mac=self.mac, options=options, broadcast=asking, client=client)

    def _send(self, said: Message, to: Ends) -> None:
        with contextlib.suppress(BlockingIOError):  # a full queue is a lost packet: it is sent again
            self._socket.send(frame.wrap(to, message.encode(said)))

    async def _ask(
        self, said: Message, patience: Sequence[float], answers: tuple[Type, ...], to: Ends | None = None
    ) -> Heard | None:
        for wait_s in patience:
            try:
                self._send(said, to or Ends(self.mac, frame.BROADCAST_MAC))
                async with asyncio.timeout(wait_s):
                    return await self._hear(said.xid, answers)
            except TimeoutError:
                continue
            except OSError as exc:
                raise NoLease(f"DHCP on a link that is gone: {exc.strerror}") from exc
        return None

    async def _hear(self, xid: int, answers: tuple[Type, ...]) -> Heard:
        loop = asyncio.get_running_loop()
        while True:
            found = frame.unwrap(await loop.sock_recv(self._socket, LARGEST))
            if found is None:
                continue
            try:
                heard = message.decode(found[1])
            except NotDhcp:
                continue
            if heard.op is Op.SERVER and heard.xid == xid and heard.mac == self.mac and heard.type in answers:
                return Heard(heard, found[0])


def _address(text: str) -> dict[int, bytes]:
    return {message.REQUESTED_ADDRESS: IPv4Address(text).packed} if text else {}


def read_lease(heard: Heard, who: Identity, began_ns: int) -> Lease:
    """Return the lease an answer grants, counted from when it was asked for. Raises `NoLease` if it makes no sense."""
    said = heard.message
    server, seconds = said.address(message.SERVER), said.seconds(message.LEASE_TIME)
    try:
        prefix = IPv4Network(f"0.0.0.0/{said.address(message.MASK) or '255.255.255.0'}").prefixlen
    except (AddressValueError, NetmaskValueError, ValueError):
        prefix = 0
    if not server or not seconds or not 0 < prefix <= 32 or IPv4Address(said.yours).is_unspecified:
        raise NoLease("a DHCP server answered with a lease that lacks server, time, address or mask")
    endless = seconds == FOREVER
    renewal, rebinding = said.seconds(message.RENEWAL_TIME) or seconds // 2, said.seconds(message.REBINDING_TIME)
    rebinding = rebinding or seconds * 7 // 8
    if not renewal <= rebinding <= seconds:  # RFC 2131, 4.4.5: T1 before T2 before the end
        renewal, rebinding = seconds // 2, seconds * 7 // 8
    return Lease(
        address=said.yours,
        prefix=prefix,
        router=said.address(message.ROUTER),
        server=server,
        server_mac=heard.sender.hex(),
        client_id=who.client_id.hex(),
        hostname=who.hostname,
        obtained_ns=began_ns,
        seconds=0 if endless else seconds,
        renewal=0 if endless else renewal,
        rebinding=0 if endless else rebinding,
    )


@contextlib.asynccontextmanager
async def line(namespace: str, link: str, who: Identity) -> AsyncIterator[Line]:
    """Lend a link of a pinned namespace to a client. Raises `LinkUnusable`, `NamespaceGone`."""
    one = await in_thread(packet.open_link, namespace, link, udp_port=CLIENT_PORT)
    try:
        yield Line(one, who)
    finally:
        one.close()
