"""What a conmon of a distribution wants that others do not."""

import asyncio
import os
from pathlib import Path

import pytest

from berth.containers.monitors import conmon

pytestmark = pytest.mark.root

#: Does with its FIFOs what conmon 2.0.25 does, Ubuntu 22.04's: ends without a word where one is.
OLD = """#!/bin/bash
while [ "$1" != -b ]; do shift; done
mkfifo "$2/ctl" "$2/winsz" || exit 1
echo '{"data": 4711}' >&"$_OCI_SYNCPIPE"
"""


@pytest.fixture
def old_conmon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin/conmon"
    program.parent.mkdir()
    program.write_text(OLD)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program


@pytest.mark.usefixtures("old_conmon")
def test_a_second_start_is_not_stopped_by_the_fifos_of_the_first(tmp_path: Path) -> None:
    order = conmon.Order(ident="c", name="c", bundle=tmp_path, exit_dir=tmp_path, runtime="/bin/false", runtime_args=())

    async def start() -> int:
        launched = await conmon.launch(order)
        await launched.monitor.wait()
        assert (tmp_path / "ctl").is_fifo()
        return launched.pid

    for _ in range(2):
        assert asyncio.run(start()) == 4711
