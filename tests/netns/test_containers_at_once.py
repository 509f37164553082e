"""Two calls about one container at once: each looks at what there is when its turn comes, not when it was asked."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from berth.base.errors import Conflict, InvalidArgument, NotFound
from berth.containers.errors import CannotKill, IsStopped, NotRunning
from berth.containers.states import State
from tests.netns.throwaway import isolated
from tests.netns.whole import Whole, queued, whole

pytestmark = pytest.mark.root


@isolated
async def test_a_stop_of_what_is_starting_stops_it(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        for verb in (here.containers.stop, here.containers.kill):
            one = await here.create("", "sleep", "600")
            starting = await queued(here.containers.start(one))
            await verb(one)
            await starting
            record = here.containers.find(one)
            assert record.started_ns
            assert record.state is State.EXITED, verb
            with pytest.raises((IsStopped, CannotKill)):
                await verb(one)


@isolated
async def test_a_wait_for_what_is_starting_waits_for_its_end(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one", "sh", "-c", "sleep 0.2; exit 7")
        starting = await queued(here.containers.start(one))
        assert await (await here.containers.waiting(one)) == 7
        await starting


@isolated
async def test_a_stop_keeps_what_has_just_ended_from_being_started_again(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one", restart="always")
        await here.containers.start(one)
        async with here.locks().hold(one):
            # the end that the watch is about to write down comes between the two turns that a stop takes
            stopping = await queued(here.containers.stop(one))
            os.kill(here.containers.find(one).pid, signal.SIGKILL)
            await here.waiters(one, 2)
        await stopping
        await _rests(here, one)


@isolated
async def test_a_kill_means_what_has_just_ended_too(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one", restart="always")
        await here.containers.start(one)
        async with here.locks().hold(one):
            os.kill(here.containers.find(one).pid, signal.SIGKILL)
            await here.waiters(one, 1)
            killing = await queued(here.containers.kill(one))
        await killing
        await _rests(here, one)


async def _rests(here: Whole, ident: str) -> None:
    record = here.containers.find(ident)
    assert record.has_been_manually_stopped
    assert record.state is State.EXITED
    await here.containers.start(ident)
    assert here.containers.find(ident).restart_count == 0


@isolated
async def test_a_name_is_looked_at_when_its_turn_comes(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one")
        done = await asyncio.gather(
            here.containers.rename(one, "two"), here.containers.rename(one, "two"), return_exceptions=True
        )
        assert done[0] is None
        assert isinstance(done[1], InvalidArgument), done
        assert "same name" in str(done[1])
        assert here.containers.find("two").id == one


@isolated
async def test_an_image_stays_for_a_container_that_is_being_made_on_it(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        image = here.images.resolve("busybox")
        making = await queued(here.create("one", "true"))
        removing = here.images.remove("busybox")
        results = await asyncio.gather(making, removing, return_exceptions=True)
        assert isinstance(results[0], str), results
        assert isinstance(results[1], Conflict), results
        assert here.images.by_id(image.id) is not None
        await here.containers.start("one")
        assert await (await here.containers.waiting("one")) == 0


@isolated
async def test_a_container_made_while_its_image_goes_has_it_or_is_told(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        for turns in range(12):
            image = here.images.resolve("busybox")
            removing = asyncio.ensure_future(here.images.remove("busybox"))
            for _ in range(turns):
                await asyncio.sleep(0)
            made = await asyncio.gather(here.create("one", "true", image=image.id), return_exceptions=True)
            await asyncio.gather(removing, return_exceptions=True)
            if isinstance(made[0], NotFound):
                assert here.images.by_id(image.id) is None
                await here.again(busybox)
                continue
            assert isinstance(made[0], str), made
            assert here.images.by_id(image.id) is not None, turns
            await here.containers.start("one")
            assert await (await here.containers.waiting("one")) == 0
            await here.containers.remove("one")
            await here.images.tag(image.id, "busybox")


@isolated
async def test_a_copy_out_of_what_has_just_ended_is_one_of_what_does_not_run(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one", "sh", "-c", "echo kept >/file; exec sleep 600")
        await here.containers.start(one)
        record = here.containers.find(one)
        async with here.locks().hold(one):
            os.kill(record.pid, signal.SIGKILL)
            await here.waiters(one, 1)  # its end is known, and waits to be written down
            describing = await queued(here.engine.archives.stat("one", "/etc/passwd"))
        assert (await describing).name == "passwd"


@isolated
async def test_a_pause_of_what_has_just_ended_says_so(tmp_path: Path, busybox: Path) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one")
        await here.containers.start(one)
        async with here.locks().hold(one):
            pausing = await queued(here.containers.pause(one))
            os.kill(here.containers.find(one).pid, signal.SIGKILL)
            await here.waiters(one, 2)  # its end is written down after that
        with pytest.raises(NotRunning):
            await pausing


@isolated
async def test_a_writer_that_ends_before_it_is_held_still_keeps_no_copy_from_being_made(
    tmp_path: Path, busybox: Path
) -> None:
    async with whole(tmp_path, busybox) as here:
        one = await here.create("one")
        await here.containers.start(one)
        async with here.locks().hold(one):
            freezing = await queued(here.engine.stillness.writers.freeze(one, 5))
            os.kill(here.containers.find(one).pid, signal.SIGKILL)
            await here.waiters(one, 2)
        await freezing  # neither waits in vain nor fails
        await here.engine.stillness.writers.thaw(one)
