"""What helper processes are told is seen by nobody else."""

from collections.abc import Mapping, Sequence

import pytest

from berth.kernel import foreign, process


@pytest.mark.parametrize("loop", [False, True])
async def test_the_options_of_a_mount_are_not_among_the_arguments(
    monkeypatch: pytest.MonkeyPatch, *, loop: bool
) -> None:
    """Everybody on the machine reads those of a process, and a share's password is one of the options."""
    seen: list[tuple[Sequence[str], Mapping[str, str]]] = []

    async def run(argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str]) -> process.Finished:
        seen.append((argv, env))
        return process.Finished(0, b'{"errno": 0}', b"")

    monkeypatch.setattr(process, "run", run)
    await foreign.mount("//server/share", "/at", "cifs", 0, "username=u,password=geheim", timeout_s=1, loop=loop)
    ((argv, env),) = seen
    assert not any("geheim" in word for word in argv)
    assert "username=u,password=geheim" in env.values()
