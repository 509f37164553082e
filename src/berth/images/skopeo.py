"""Drives skopeo: copies between registries, archives and directories.

Every call gets configuration of our own (registries, policy, home directory), so nothing on the host needs
to be set up and none of the host's credentials are used. Must not: know tags or images.
"""

import asyncio
import base64
import logging
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.paths import Layout
from berth.images.reference import Reference
from berth.kernel import process
from berth.kernel.files import write_atomically
from berth.wire.images import AuthConfig

log = logging.getLogger(__name__)

#: How long a registry may take to answer a single question, in seconds.
ASK_LIMIT_S: Final = 60.0
#: How long one copy may take, in seconds; large images over slow lines take hours, a dead copy must end some day.
COPY_LIMIT_S: Final = 6 * 3600.0
#: Where programs are looked for when the daemon's environment does not say.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PASSED_ON: Final = frozenset(
    {"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
     "SSL_CERT_FILE", "SSL_CERT_DIR"}
)  # fmt: skip


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what programs get of the daemon's environment: where programs are, proxies, certificates."""
    return {"PATH": _PATH} | {key: value for key, value in environment.items() if key in _PASSED_ON}


class _Tags(msgspec.Struct):
    tags: list[str] = msgspec.field(default_factory=list, name="Tags")


class Skopeo:
    """Runs skopeo."""

    def __init__(
        self,
        layout: Layout,
        *,
        environment: Mapping[str, str],
        insecure_registries: Collection[str] = (),
        mirrors: Sequence[str] = (),
    ) -> None:
        self._layout = layout
        self._home = layout.skopeo
        self._temporary = layout.arriving / "skopeo"
        self._insecure = frozenset(insecure_registries)
        self._mirrors = tuple(mirrors)
        self._environment = passed_on(environment)
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def copy(
        self,
        source: str,
        target: str,
        *,
        options: Sequence[str] = (),
        on_output: Callable[[bytes], None] | None = None,
    ) -> None:
        """Copy an image; raises `berth.kernel.process.ProgramFailed` with what skopeo said.

        With `on_output` it runs on a terminal of its own and every piece of what it draws is handed over.
        """
        await self._prepare()
        quiet = ["--quiet"] if on_output is None else []
        argv = ["skopeo", "--insecure-policy", "copy", *quiet, *options, source, target]
        # Killed with the engine: what it still wrote afterwards would be in the way of the next start.
        argv = process.ending_with_us(argv, self._env())
        if on_output is None:
            await process.run(argv, timeout_s=COPY_LIMIT_S, env=self._env())
        else:
            await process.run_on_terminal(argv, timeout_s=COPY_LIMIT_S, env=self._env(), on_output=on_output)

    async def raw_manifest(self, reference: Reference, options: Sequence[str] = ()) -> bytes:
        """Ask a registry for a manifest or index as it is."""
        await self._prepare()
        argv = ["skopeo", "--insecure-policy", "inspect", "--raw", *options, *self.tls(reference, "")]
        done = await process.run([*argv, f"docker://{reference.full}"], timeout_s=ASK_LIMIT_S, env=self._env())
        return done.stdout

    async def config(self, reference: Reference, options: Sequence[str] = ()) -> bytes:
        """Ask a registry for the configuration of an image."""
        await self._prepare()
        argv = ["skopeo", "--insecure-policy", "inspect", "--config", "--raw", *options, *self.tls(reference, "")]
        done = await process.run([*argv, f"docker://{reference.full}"], timeout_s=ASK_LIMIT_S, env=self._env())
        return done.stdout

    async def tags(self, reference: Reference, options: Sequence[str] = ()) -> list[str]:
        """Ask a registry for the tags of a repository."""
        await self._prepare()
        argv = ["skopeo", "--insecure-policy", "list-tags", *options, *self.tls(reference, "")]
        done = await process.run([*argv, f"docker://{reference.repository}"], timeout_s=ASK_LIMIT_S, env=self._env())
        return msgspec.json.decode(done.stdout, type=_Tags).tags

    async def login(self, registry: str, auth: AuthConfig) -> None:
        """Check credentials against a registry; they are not kept."""
        await self._prepare()
        with self._private_file() as path:
            argv = ["skopeo", "login", "--authfile", str(path), "--username", auth.username or "", "--password-stdin"]
            if self._is_insecure(registry):
                argv.append("--tls-verify=false")
            await process.run(
                [*argv, registry], timeout_s=ASK_LIMIT_S, env=self._env(), feed=(auth.password or "").encode()
            )

    def tls(self, reference: Reference, prefix: str) -> list[str]:
        """Return the options that let a registry on this machine, or one declared so, speak plain HTTP."""
        if self._is_insecure(reference.registry):
            return [f"--{prefix}tls-verify=false"]
        return []

    @asynccontextmanager
    async def credentials(
        self, registry: str, auth: AuthConfig | None, option: str = "--authfile"
    ) -> AsyncIterator[list[str]]:
        """Lend the options that make skopeo use `auth`; the file they name is private and short-lived."""
        body = auth_file(registry, auth)
        if body is None:
            yield []
            return
        await self._prepare()
        with self._private_file() as path:
            path.write_bytes(body)
            yield [option, str(path)]

    @contextmanager
    def _private_file(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="auth-", dir=self._home) as directory:
            yield Path(directory) / "auth.json"

    def _is_insecure(self, registry: str) -> bool:
        return registry in self._insecure or Reference(registry=registry, path="x").is_loopback

    def _env(self) -> dict[str, str]:
        return self._environment | {
            "HOME": str(self._home),
            "XDG_RUNTIME_DIR": str(self._home),
            "CONTAINERS_REGISTRIES_CONF": str(self._home / "registries.conf"),
            "TMPDIR": str(self._temporary),
            # Copying layers is one long pipeline: with the Go runtime's eager preemption and collection, a third of
            # the time on two processors goes to switching between threads.
            "GOGC": "400",
            "GODEBUG": "asyncpreemptoff=1",
            "TERM": "xterm",
        }

    async def _prepare(self) -> None:
        async with self._preparing:
            if not self._prepared:
                await in_thread(self._write_configuration)
                self._prepared = True

    def _write_configuration(self) -> None:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._temporary.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._layout.images.mkdir(parents=True, exist_ok=True, mode=0o710)
        text = registries_conf(self._mirrors, self._insecure)
        write_atomically(self._home / "registries.conf", text.encode())


def registries_conf(mirrors: Sequence[str], insecure: Collection[str]) -> str:
    """Write containers-registries.conf(5): names are always complete, docker.io may have mirrors."""
    lines = ["unqualified-search-registries = []", 'short-name-mode = "disabled"']
    for registry in sorted(insecure):
        lines += ["[[registry]]", f"location = {_toml(registry)}", "insecure = true"]
    if mirrors:
        lines += ["[[registry]]", 'location = "docker.io"']
        for mirror in mirrors:
            scheme, _, rest = mirror.rpartition("://")
            lines += ["[[registry.mirror]]", f"location = {_toml(rest.rstrip('/'))}"]
            lines += [f"insecure = {'true' if scheme == 'http' else 'false'}"]
    return "\n".join(lines) + "\n"


def auth_file(registry: str, auth: AuthConfig | None) -> bytes | None:
    """Write containers-auth.json(5) for one registry, or None if there is nothing to tell."""
    if auth is None:
        return None
    entry: dict[str, str] = {}
    if auth.username or auth.password:
        entry["auth"] = base64.b64encode(f"{auth.username or ''}:{auth.password or ''}".encode()).decode()
    elif auth.auth:
        entry["auth"] = auth.auth
    if auth.identitytoken:
        entry["identitytoken"] = auth.identitytoken
        entry.setdefault("auth", base64.b64encode(b"<token>:").decode())
    if not entry:
        return None
    return msgspec.json.encode({"auths": {registry: entry}})


def _toml(text: str) -> str:
    # TOML's basic strings escape as JSON's do (toml.io, section "String").
    return msgspec.json.encode(text).decode()


async def discard(path: Path) -> None:
    """Remove a temporary tree of ours off the loop."""
    await in_thread(shutil.rmtree, path, ignore_errors=True)


@asynccontextmanager
async def scratch(layout: Layout, prefix: str) -> AsyncIterator[Path]:
    """Lend an empty directory on the disk of the image store, gone when the block ends however it ends."""

    def make() -> Path:
        layout.arriving.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=layout.arriving))

    path = await in_thread(make)
    try:
        yield path
    finally:
        await discard(path)
