"""The connection to a process of ours that is lost and found again."""

import asyncio
import socket
from pathlib import Path

import pytest

from berth.networks.processes.keeper import Connection, Keeper, Lost

pytestmark = pytest.mark.root


def test_one_that_is_dying_and_lets_us_in_costs_no_second(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(listener: socket.socket) -> None:
        told: list[Connection] = []

        async def describe(connection: Connection) -> None:
            told.append(connection)
            if len(told) < 3:
                raise Lost

        async def revived() -> None:
            """Nothing follows."""

        async def tell(connection: Connection) -> None:
            if connection not in told[2:]:
                raise Lost

        keeper = Keeper("helper", tmp_path / "sock", spawn=None, describe=describe, revived=revived)
        await keeper.start()
        listener.accept()[0].close()  # it is being killed, and still listens
        await keeper.until_told(tell)
        assert len(told) == 3
        await keeper.close()

    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()
        asyncio.run(story(listener))
    pauses = [line.partition(", again in ")[2].partition(":")[0] for line in caplog.messages if "again in" in line]
    assert pauses == ["0.02 s", "0.1 s"]
