"""Builds images from this machine's own packages and puts them into the store under the names asked for.

Such an image says in its labels what it is. Must not: mount or start anything outside namespaces of its own.
"""

import platform as machine
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from berth.base.aio import KeyedLocks, Tasks, in_thread
from berth.base.clock import Clock, rfc3339
from berth.base.ids import ImageId, short
from berth.base.paths import Layout
from berth.images import messages
from berth.images.bundle import add_layer, add_layer_bytes, finish_bundle, layer_bytes
from berth.images.catalogue import Catalogue
from berth.images.errors import RecipeFailed, UnknownRecipe
from berth.images.intake import Intake
from berth.images.jobs import Jobs, Say
from berth.images.manifest import MadeLayer, Platform, machine_platform
from berth.images.messages import Message
from berth.images.model import ImageRecord, Layer
from berth.images.naming import Naming, Publish
from berth.images.recipes import busybox, table
from berth.images.recipes.packages import Packages
from berth.images.reference import Reference
from berth.images.skopeo import passed_on, scratch
from berth.kernel import process

LABEL_RECIPE: Final = "io.berth.recipe"
#: Which form of the recipe made an image; another form makes it anew.
LABEL_FORM: Final = "io.berth.recipe.form"
DESCRIPTION: Final = "made from this machine's Debian packages; not the well-known image of the same name"
#: Recipes that stand on nothing.
_BASES: Final = frozenset({"busybox", "debian"})
#: How long one package may take to arrive, in seconds.
_FETCH_LIMIT_S: Final = 120.0


def labels(recipe: str) -> dict[str, str]:
    """Return the labels that tell such an image from the well-known one."""
    return {
        "io.berth.bootstrap": "true",
        LABEL_RECIPE: recipe,
        LABEL_FORM: table.FORM,
        "org.opencontainers.image.description": DESCRIPTION,
    }


class Recipes:
    """The recipes and how they are cooked."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        intake: Intake,
        clock: Clock,
        tasks: Tasks,
        publish: Publish,
        environment: Mapping[str, str],
        discard: Callable[[ImageRecord], Awaitable[None]],
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._intake = intake
        self._clock = clock
        self._jobs = Jobs(tasks)
        self._naming = Naming(catalogue, intake.locks, publish)
        self._environment = passed_on(environment)
        self._platform: Platform = machine_platform(machine.machine())
        self._discard = discard
        self._locks = KeyedLocks()
        self._packages = Packages(layout, self._environment)

    @property
    def names(self) -> tuple[str, ...]:
        """What can be made."""
        return table.NAMES

    def bootstrap(self, name: str, target: Reference | None = None) -> AsyncGenerator[Message, None]:
        """Make the image of recipe `name`, call it `target` (by default NAME:latest), and say how it goes."""
        if name not in self.names:
            raise UnknownRecipe(name, self.names)
        reference = (target or Reference(registry="docker.io", path=f"library/{name}")).or_latest()
        return self._jobs.join(f"bootstrap {name} {reference.full}", lambda say: self._bootstrap(say, name, reference))

    async def _bootstrap(self, say: Say, name: str, reference: Reference) -> None:
        say(messages.status(f"Making {reference.familiar} from this machine's packages", name))
        if name not in _BASES and self._base() is None:
            say(messages.status("Making its base", "debian"))
            await self._shared("debian", say)
            say(messages.status("Made its base", "debian"))
        ident = await self._naming.take_in(lambda: self._shared(name, say), [reference])
        if name not in _BASES:
            await self._tidy()
        say(messages.status(f"Made {reference.familiar}, {short(ident)}", name))

    async def _shared(self, name: str, say: Say) -> ImageId:
        """Make the image of a recipe, or return the one made before; two who ask at once share one build."""
        async with self._locks.hold(name):
            made = self._made(name)
            if made is not None:
                return made.id
            if name == "busybox":
                return await self._busybox()
            return await self._from_packages(name, say)

    def _made(self, name: str) -> ImageRecord | None:
        """Return the newest image in the store that the present form of a recipe made."""
        found = [
            image
            for image in self._catalogue.all()
            if image.config.labels.get(LABEL_RECIPE) == name and image.config.labels.get(LABEL_FORM) == table.FORM
        ]
        return max(found, key=lambda image: image.created_ns, default=None)

    def _base(self) -> tuple[Layer, ...] | None:
        """Return the layer that all share: of the `debian` image, or of one that lies on it."""
        for name in ("debian", *table.NAMES):
            made = self._made(name) if name != "busybox" else None
            if made is not None:
                return made.stored.layer_chain[:1]
        return None

    async def _tidy(self) -> None:
        """Let the `debian` image go if nobody asked for it: its layer lives on in the image above."""
        async with self._locks.hold("debian"):
            base = self._made("debian")
            if base is not None and not self._catalogue.names(base.id):
                await self._discard(base)

    async def _from_packages(self, name: str, say: Say) -> ImageId:
        def on_stage(text: str) -> None:
            say(messages.status(text, name))

        if name != "debian" and self._base() is None:
            await self._shared("debian", say)
        async with scratch(self._layout, name) as directory:
            bundle = directory / "bundle"
            await in_thread(bundle.mkdir)
            below, config = self._base() or (), table.DEBIAN
            layers = [await in_thread(self._as_it_came, layer) for layer in below]
            tar = bundle / "layer.tar"
            if name != "debian":
                recipe = table.recipe(name)
                config = dict(recipe.config)
                lowers = [layer.path for layer in reversed(below)]
                await self._packages.above(directory, tar, lowers, recipe, on_stage)
            elif not below:
                await self._packages.base(directory, tar, on_stage)
            if await in_thread(tar.exists):
                layers.append(await in_thread(add_layer, bundle, tar, created_by=f"berth image bootstrap {name}"))
            await in_thread(
                finish_bundle,
                bundle,
                config=config | {"Labels": labels(name)},
                layers=layers,
                created=rfc3339(self._clock.now_ns()),
                platform=self._platform,
            )
            on_stage("Storing the image")
            return await self._intake.take_directory(bundle)

    def _as_it_came(self, layer: Layer) -> MadeLayer:
        made = MadeLayer(digest=layer.diff_id, size=layer.tar_size, created_by="berth image bootstrap debian")
        if layer.blob == layer.diff_id:
            return made
        return replace(made, blob=layer.blob, blob_size=self._intake.storage.blob(layer.blob).stat().st_size)

    async def _busybox(self) -> ImageId:
        async with scratch(self._layout, "busybox") as directory:
            program = await self._busybox_program(directory)
            listed = await process.run([str(program), "--list"], timeout_s=_FETCH_LIMIT_S)
            now = self._clock.now_ns()
            data = await in_thread(
                lambda: layer_bytes(
                    busybox.entries(program, listed.stdout.decode().split()), mtime_s=now // 1_000_000_000
                )
            )
            bundle = directory / "bundle"
            await in_thread(bundle.mkdir)
            layer = await in_thread(add_layer_bytes, bundle, data, created_by="berth image bootstrap busybox")
            await in_thread(
                finish_bundle,
                bundle,
                config=busybox.CONFIG | {"Labels": labels("busybox")},
                layers=[layer],
                created=rfc3339(now),
                platform=self._platform,
            )
            return await self._intake.take_directory(bundle)

    async def _busybox_program(self, directory: Path) -> Path:
        for installed in busybox.INSTALLED:
            if await in_thread(busybox.is_static, installed):
                return installed
        await process.run(
            ["apt-get", "download", busybox.PACKAGE],
            timeout_s=_FETCH_LIMIT_S,
            env=self._environment,
            cwd=str(directory),
        )
        package = next(iter(await in_thread(lambda: list(directory.glob("*.deb")))), None)
        if package is None:
            raise RecipeFailed(f"the package {busybox.PACKAGE} did not arrive")
        tree = directory / "package"
        await process.run(["dpkg-deb", "-x", str(package), str(tree)], timeout_s=_FETCH_LIMIT_S)
        for inside in ("usr/bin/busybox", "bin/busybox"):
            if await in_thread(busybox.is_static, tree / inside):
                return tree / inside
        raise RecipeFailed(f"the package {busybox.PACKAGE} holds no static busybox")
