"""Unit tests run coroutines in a fresh loop each, and may not spawn, connect or sleep."""

import asyncio
import inspect
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
from hypothesis import settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")

# The machine may be busy: how long an example takes says nothing about the code.
hypothesis.settings.register_profile("berth", deadline=None)
hypothesis.settings.load_profile("berth")


class NotInUnitTests(BaseException):
    """A unit test reached for the machine."""


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run ``async def`` tests to their end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


@pytest.fixture(autouse=True)
def _no_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*_: Any, **__: Any) -> Any:
        raise NotInUnitTests("a unit test may not start programs or reach a network")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
