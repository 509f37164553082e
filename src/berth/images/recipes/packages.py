"""Builds layers from the machine's Debian packages: the sources, the package lists, the script that does the work.

The work is done by ``files/layer.sh`` in mount and process namespaces of its own: a build that is killed leaves
nothing mounted. Must not: run a package's programs on the host, or start what a package brings.
"""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from berth.base.aio import KeyedLocks, in_thread
from berth.base.paths import Layout
from berth.images import pack
from berth.images.errors import RecipeFailed
from berth.images.recipes.sources import Source, of_distribution, parse_deb822, parse_list, render_deb822
from berth.images.recipes.table import Recipe
from berth.kernel import process

log = logging.getLogger(__name__)

OnStage = Callable[[str], None]

#: How long one layer may take, in seconds: slow mirrors.
_LAYER_LIMIT_S: Final = 1800.0
_LISTS_LIMIT_S: Final = 300.0
#: Package lists younger than this are used as they are, in seconds.
_LISTS_FRESH_S: Final = 3600.0
#: Free memory from which a layer is built on a tmpfs, in bytes: the largest takes less than a third of it.
_MEMORY_WANTED: Final = 2 << 30


class Packages:
    """The machine's package sources, used for images."""

    def __init__(self, layout: Layout, environment: Mapping[str, str]) -> None:
        self._lists = layout.images.with_name("packages") / "lists"
        # The machine's own programs, whatever else comes first in the daemon's PATH.
        self._environment = dict(environment) | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        self._locks = KeyedLocks()

    async def base(self, scratch: Path, target: Path, on_stage: OnStage) -> None:
        """Write the layer of the `debian` image to `target`, a tar file."""
        codename = await in_thread(_codename)
        on_stage("Reading package lists")
        await self._prepare(scratch, codename, setup="", finish="", files={})
        await self._run("base", scratch, target, [codename], on_stage)

    async def above(
        self, scratch: Path, target: Path, lowers: Sequence[str], recipe: Recipe, on_stage: OnStage
    ) -> None:
        """Write what `recipe` puts on top of the layers `lowers` (topmost first) to `target`."""
        codename = await in_thread(_codename)
        on_stage("Reading package lists")
        await self._prepare(scratch, codename, setup=recipe.setup, finish=recipe.finish, files=recipe.files)
        await self._run("above", scratch, target, [":".join(lowers), *recipe.packages], on_stage)

    async def _prepare(
        self, scratch: Path, codename: str, *, setup: str, finish: str, files: Mapping[str, tuple[str, int]]
    ) -> None:
        sources = await in_thread(_host_sources, codename)
        if not sources:
            raise RecipeFailed(
                f"none of this machine's package sources is of its release {codename!r}; see sources.list(5)"
            )

        def write() -> None:
            here = resources.files(__package__)
            (scratch / "sources.sources").write_text(render_deb822(sources), encoding="utf-8")
            (scratch / "setup.sh").write_text(setup, encoding="utf-8")
            (scratch / "finish.sh").write_text(finish, encoding="utf-8")
            (scratch / "pack.py").write_bytes(Path(pack.__file__).read_bytes())
            (scratch / "layer.sh").write_bytes((here / "files" / "layer.sh").read_bytes())
            (scratch / "files").mkdir()
            for path, (text, mode) in files.items():
                target = scratch / "files" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.endswith("/"):
                    target.mkdir()
                else:
                    target.write_text(text, encoding="utf-8")
                target.chmod(mode)
            for directory in [scratch / "files", *(scratch / "files").rglob("*")]:
                if directory.is_dir() and f"{directory.relative_to(scratch / 'files')}/" not in files:
                    directory.chmod(0o755)

        await in_thread(write)
        async with self._locks.hold("lists"):
            await self._refresh_lists(scratch)
            await in_thread(shutil.copytree, self._lists, scratch / "lists", ignore=_skip_locks)

    async def _refresh_lists(self, scratch: Path) -> None:
        sources = scratch / "sources.sources"
        known = self._lists.with_name("sources.sources")

        def is_fresh() -> bool:
            try:
                age = os.stat(scratch).st_mtime - os.stat(known).st_mtime
            except FileNotFoundError:
                return False
            return age < _LISTS_FRESH_S and known.read_bytes() == sources.read_bytes()

        if await in_thread(is_fresh):
            return
        await in_thread((self._lists / "partial").mkdir, parents=True, exist_ok=True)
        options = {
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": str(self._lists),
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",
            "APT::Update::Post-Invoke": "",
            "APT::Update::Post-Invoke-Success": "",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        await process.run(["apt-get", "-qq", *flags, "update"], timeout_s=_LISTS_LIMIT_S, env=self._environment)
        await in_thread(shutil.copyfile, sources, known)

    async def _run(self, mode: str, scratch: Path, target: Path, arguments: Sequence[str], on_stage: OnStage) -> None:
        in_memory = await in_thread(_memory_available) > _MEMORY_WANTED
        environment = self._environment | {"IN_MEMORY": "1" if in_memory else "0", "PYTHON": sys.executable}
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        rest = b""

        def show(piece: bytes) -> None:
            nonlocal rest
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                on_stage(line.decode(errors="replace").strip())

        try:
            await process.run_on_terminal(
                [*unshare, "sh", str(scratch / "layer.sh"), mode, str(scratch), str(target), *arguments],
                timeout_s=_LAYER_LIMIT_S,
                env=environment,
                on_output=show,
            )
        except process.ProgramFailed as exc:
            log.warning("building a layer failed: %s", exc.said)
            raise RecipeFailed(f"building from packages failed: {exc.said.strip()[-1500:]}") from exc


def _skip_locks(_directory: str, names: list[str]) -> set[str]:
    return {"lock", "partial"} & set(names)


def _codename() -> str:
    with open("/etc/os-release", encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.strip().partition("=")
            if name == "VERSION_CODENAME":
                return value.strip("\"'")
    raise RecipeFailed("this machine is no Debian or Ubuntu release: /etc/os-release has no VERSION_CODENAME")


def _host_sources(codename: str) -> list[Source]:
    root = Path("/etc/apt")
    found: list[Source] = []
    for path in [root / "sources.list", *sorted((root / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if path.suffix == ".list":
            found += parse_list(text)
        elif path.suffix == ".sources":
            found += parse_deb822(text)
    return of_distribution(found, codename)


def _memory_available() -> int:
    with open("/proc/meminfo", encoding="ascii") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0
