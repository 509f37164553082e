"""nftables through libnftables, in process: one text in, one transaction done or refused.

The library keeps one context for the host's namespace; inside a container's namespace a context lives for one call.
Must not: know what a rule is for.
"""

import contextlib
import ctypes
import functools
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import netns, nftwatch
from berth.kernel.lowfiles import LowFiles, NoLowNumber
from berth.kernel.nftmirror import Mirror
from berth.plan.model import Step
from berth.plan.steps.nft import NftTransaction

log = logging.getLogger(__name__)

#: The library keeps global state; its manual promises nothing about threads.
_ONE_AT_A_TIME: Final = threading.Lock()

#: The library's file name on every distribution that has nft 0.9 or later.
SONAME: Final = "libnftables.so.1"
#: Own transactions remembered by number: notifications of them are read long before as many more happen.
_REMEMBERED: Final = 4096
#: nft_ctx_output_set_flags(3): print handles; answer in JSON.
NFT_CTX_OUTPUT_HANDLE: Final = 1 << 3
NFT_CTX_OUTPUT_JSON: Final = 1 << 4


class FirewallRefused(SystemFault):
    """The kernel or the library refused a transaction; nothing of it was done."""

    def __init__(self, said: str) -> None:
        super().__init__(f"nftables: {said}")
        self.said = said


@functools.cache
def _library() -> Any:  # noqa: ANN401  ctypes
    try:
        lib = ctypes.CDLL(SONAME)
    except OSError as exc:
        raise SystemFault(f"{SONAME} is missing (Debian, Ubuntu: apt-get install libnftables1): {exc}") from exc
    lib.nft_ctx_new.restype = ctypes.c_void_p
    lib.nft_ctx_new.argtypes = (ctypes.c_uint32,)
    lib.nft_ctx_free.argtypes = (ctypes.c_void_p,)
    for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error"):
        getattr(lib, name).argtypes = (ctypes.c_void_p,)
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(lib, name).argtypes = (ctypes.c_void_p,)
        getattr(lib, name).restype = ctypes.c_char_p
    lib.nft_run_cmd_from_buffer.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    lib.nft_ctx_output_set_flags.argtypes = (ctypes.c_void_p, ctypes.c_uint)
    return lib


@functools.cache
def low_files() -> LowFiles:
    """Return the numbers for the library's sockets; to be asked for while the engine has few files open."""
    return LowFiles()


class Nft:
    """A context in the namespace of the thread that makes it; usable from any thread, one at a time."""

    def __init__(self, *, json: bool = False, handles: bool = False) -> None:
        self._lib = _library()
        try:
            with low_files().lent():
                self._context = self._lib.nft_ctx_new(0)
        except NoLowNumber as exc:
            raise SystemFault(f"nftables: {exc}") from exc
        if not self._context:
            raise SystemFault("nftables: no context")
        self._lib.nft_ctx_buffer_output(self._context)
        self._lib.nft_ctx_buffer_error(self._context)
        flags = (NFT_CTX_OUTPUT_JSON if json else 0) | (NFT_CTX_OUTPUT_HANDLE if handles else 0)
        if flags:
            self._lib.nft_ctx_output_set_flags(self._context, flags)

    def run(self, commands: str) -> str:
        """Carry out `commands` as one transaction and return what it prints. Raises `FirewallRefused`."""
        with _ONE_AT_A_TIME:
            failed = self._lib.nft_run_cmd_from_buffer(self._context, commands.encode())
            printed: bytes = self._lib.nft_ctx_get_output_buffer(self._context) or b""
            complaint: bytes = self._lib.nft_ctx_get_error_buffer(self._context) or b""
        if failed:
            numbered = "".join(f"{number:4} {line}\n" for number, line in enumerate(commands.splitlines(), 1))
            log.debug("refused transaction:\n%s", numbered)
            raise FirewallRefused(" ".join(complaint.decode(errors="replace").split()))
        return printed.decode(errors="replace")

    def close(self) -> None:
        """Give the context back; may be repeated."""
        if self._context:
            with low_files().given_back():
                self._lib.nft_ctx_free(self._context)
            self._context = None


class Host(Nft):
    """The context of the engine's own namespace: remembers what it put there, and which transactions were its own."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = threading.RLock()
        self._asker = nftwatch.open_asker()
        self._own: dict[int, None] = {}
        #: Number of the last transaction when ours was last done.
        self.generation = 0
        self.mirror = Mirror()

    def run(self, commands: str) -> str:
        """Carry out `commands` as one transaction. Raises `FirewallRefused`.

        Where they fail because somebody has just removed our tables, those are put back in the same transaction.
        """
        with self._turn:
            before = nftwatch.ask_generation(self._asker)
            try:
                printed = super().run(commands)
            except FirewallRefused as refusal:
                if not any(f" {name} " in commands for name in self.mirror.tables):
                    raise
                try:
                    printed = super().run(self.mirror.whole() + commands)
                except FirewallRefused:
                    raise refusal from None
            self.mirror.note(commands)
            self.generation = after = nftwatch.ask_generation(self._asker)
            if after == before + 1:  # else somebody else's came between: it cannot be told which was ours
                self._own[after] = None
                if len(self._own) > _REMEMBERED:
                    del self._own[next(iter(self._own))]
            return printed

    def is_known_as_ours(self, generation: int) -> bool:
        """Tell whether a transaction that has ended was made here; never waits."""
        return generation in self._own

    def is_ours(self, generation: int) -> bool:
        """Tell whether a transaction was made here; waits for one under way, which may be it."""
        if generation in self._own:
            return True
        with self._turn:
            return generation in self._own

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[Mirror]:
        """Let no transaction of ours begin meanwhile: what was put there and what is there can be compared."""
        with self._turn:
            yield self.mirror

    def restore(self) -> tuple[int, int]:
        """Put every table of ours back, whole, in one transaction; return how many elements they have, and its number.

        Whatever others did up to that number is overcome.
        """
        with self._turn:
            self.run(self.mirror.whole())
            return sum(len(copy) for copy in self.mirror.tables.values()), self.generation


@functools.cache
def host() -> Host:
    """Return the one context of the namespace the engine runs in."""
    return Host()


def run_once(commands: str, *, json: bool = False, handles: bool = False) -> str:
    """Carry out `commands` with a context of their own, in the calling thread's namespace."""
    context = Nft(json=json, handles=handles)
    try:
        return context.run(commands)
    finally:
        context.close()


def listed(what: str) -> list[dict[str, Any]]:
    """List objects of the host's namespace (``chains``, ``chain ip filter X``) as libnftables-json(5) describes them.

    What is not there is an empty list.
    """
    try:
        printed = run_once(f"list {what}", json=True)
    except FirewallRefused:
        return []
    found: list[dict[str, Any]] = msgspec.json.decode(printed)["nftables"] if printed else []
    return found


def _transaction(step: Step) -> Step | None:
    want = cast("NftTransaction", step)
    if want.namespace:
        netns.inside(want.namespace, run_once, want.commands)
    else:
        host().run(want.commands)
    return NftTransaction(want.inverse, namespace=want.namespace) if want.inverse else None


def _undo(step: Step) -> Step | None:
    want = cast("NftTransaction", step)
    return NftTransaction(want.inverse, namespace=want.namespace) if want.inverse and not want.namespace else None


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {NftTransaction: _transaction}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {NftTransaction: _undo}
