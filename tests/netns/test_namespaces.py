"""Errands in network namespaces: each is where it was sent, nobody else is, and none stays behind."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from berth.kernel import link, netlink, netns
from tests.netns.throwaway import isolated

pytestmark = pytest.mark.root


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def runners() -> int:
    return sum(thread.name == "berth-netns" for thread in threading.enumerate())


@isolated
def test_each_errand_is_where_it_was_sent_and_one_thread_does_them_all(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in "ab"]
    for path in paths:
        netns.create(path)
    numbers = [os.stat(path).st_ino for path in paths]
    assert len({*numbers, here()}) == 3
    for _ in range(10):
        assert [netns.inside(path, here) for path in paths] == numbers
        with pytest.raises(ZeroDivisionError):
            netns.inside(paths[0], lambda: 1 / 0)
    assert runners() == 1
    assert here() not in numbers


@isolated
def test_errands_at_once_have_a_thread_each_of_which_few_are_kept(tmp_path: Path) -> None:
    path, many = str(tmp_path / "a"), 10
    netns.create(path)
    together = threading.Barrier(many)

    def meet() -> int:
        together.wait(20)
        return here()

    with ThreadPoolExecutor(many) as pool:
        found = {one.result() for one in [pool.submit(netns.inside, path, meet) for _ in range(many)]}
    assert found == {os.stat(path).st_ino}
    deadline = time.monotonic() + 20
    while runners() > 4:
        assert time.monotonic() < deadline, runners()
        time.sleep(0.01)
    assert netns.inside(path, lambda: netns.inside(path, here)) == os.stat(path).st_ino


@isolated
def test_a_namespace_ends_though_errands_led_there(tmp_path: Path) -> None:
    held = []
    for name in ("held", "left"):
        path = str(tmp_path / name)
        netns.create(path)
        with netns.opened(path) as fd:
            pair = netlink.new_veth(name, peer="eth0", peer_mac="02:42:0a:00:00:02", namespace_fd=fd, mtu=1400)
            link.host().send(pair)
        held.append(netns.inside(path, socket.socket, socket.AF_INET6))
    held.pop().close()
    assert runners() == 1
    for name in ("held", "left"):
        netns.remove(str(tmp_path / name))
    until_gone("left")
    assert link.host().link("held").number, "as long as a socket of its is open it stays"
    held.pop().close()
    until_gone("held")


def until_gone(name: str) -> None:
    deadline = time.monotonic() + 20
    while name in {one.name for one in link.host().links()}:
        assert time.monotonic() < deadline, f"something keeps the namespace of {name}"
        time.sleep(0.01)


@isolated
def test_a_thread_that_does_not_come_back_does_nothing_more(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    netns.create(path)
    netns.inside(path, here)
    (runner,) = netns._waiting
    os.dup2(os.open("/dev/null", os.O_RDONLY), runner._home)  # setns will refuse it
    assert netns.inside(path, here) == os.stat(path).st_ino
    assert netns._waiting == []
    assert netns.inside(path, here) == os.stat(path).st_ino
