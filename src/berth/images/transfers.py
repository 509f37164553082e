"""Images from and to registries: pull, push, what a registry says about a name, credentials."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec

from berth.base.aio import Tasks, in_thread
from berth.base.ids import ImageId, short
from berth.base.paths import Layout
from berth.images import messages
from berth.images.bundle import is_packed, lay_out
from berth.images.catalogue import Catalogue
from berth.images.drawing import BlobProgress, Drawing
from berth.images.errors import NothingToPush, PlatformMissing
from berth.images.intake import Intake
from berth.images.jobs import Jobs, Say
from berth.images.manifest import (
    DOCKER_MANIFEST,
    Descriptor,
    Manifest,
    Platform,
    choose,
    digest_of,
    manifest_digest,
    parse_manifest,
)
from berth.images.messages import Message
from berth.images.model import ImageRecord
from berth.images.naming import Publish
from berth.images.reference import Reference
from berth.images.refusals import login_refusal, pull_refusal, push_refusal
from berth.images.skopeo import Skopeo, scratch
from berth.kernel.process import ProgramFailed
from berth.wire.images import AuthConfig


@dataclass(frozen=True, slots=True)
class _Offer:
    """What a registry has under a name: the digest of what the name means, and the manifest for one platform."""

    digest: str
    #: The manifest as it came.
    raw: bytes
    manifest_digest: str
    manifest: Manifest


class Transfers:
    """Pulls and pushes."""

    def __init__(
        self,
        layout: Layout,
        catalogue: Catalogue,
        intake: Intake,
        tasks: Tasks,
        publish: Publish,
        platform: Platform,
    ) -> None:
        self._layout = layout
        self._catalogue = catalogue
        self._intake = intake
        self._skopeo: Skopeo = intake.skopeo
        self._jobs = Jobs(tasks)
        self._publish = publish
        self._platform = platform

    def pull(
        self, reference: Reference, *, auth: AuthConfig | None = None, platform: Platform | None = None
    ) -> AsyncGenerator[Message, None]:
        """Bring an image from its registry; who asks for the same one meanwhile shares the transfer."""
        wanted = reference.or_latest()
        who = sha256(msgspec.json.encode(auth)).hexdigest()[:12] if auth is not None else "nobody"
        key = f"pull {wanted.full} {platform or ''} as {who}"
        return self._jobs.join(key, lambda say: self._pull(say, wanted, auth, platform or self._platform))

    async def pull_all(
        self, reference: Reference, *, auth: AuthConfig | None = None, platform: Platform | None = None
    ) -> AsyncGenerator[Message, None]:
        """Bring every tag of a repository, one after the other."""
        async with self._skopeo.credentials(reference.registry, auth) as login:
            try:
                tags = await self._skopeo.tags(reference, login)
            except ProgramFailed as exc:
                raise pull_refusal(exc.said, reference) from exc
        for tag in tags:
            async with aclosing(self.pull(reference.with_tag(tag), auth=auth, platform=platform)) as one:
                async for message in one:
                    yield message

    async def _pull(self, say: Say, reference: Reference, auth: AuthConfig | None, platform: Platform) -> None:
        async with AsyncExitStack() as stack:
            login = await stack.enter_async_context(self._skopeo.credentials(reference.registry, auth))
            offer = await self._ask(reference, login, platform)
            say(messages.status(f"Pulling from {reference.path}", reference.tag or reference.digest))
            before = self._catalogue.find(reference)
            while True:
                ident = await self._bring(say, reference, before, offer, login)
                # What has no name yet may be pruned any moment: then it comes again.
                async with self._intake.locks.hold(ident):
                    if self._catalogue.by_id(ident) is None:
                        continue
                    await self._catalogue.put(reference.with_digest(offer.digest), ident)
                    if not reference.digest:
                        await self._catalogue.put(reference, ident)
                    break
        say(messages.status(f"Digest: {offer.digest}"))
        news = before is None or before.id != ident
        say(
            messages.status(
                f"Status: {'Downloaded newer image' if news else 'Image is up to date'} for {reference.familiar}"
            )
        )
        self._publish("pull", reference.familiar, reference.familiar_repository)

    async def _bring(
        self, say: Say, reference: Reference, before: ImageRecord | None, offer: _Offer, login: Sequence[str]
    ) -> ImageId:
        """Fetch what is offered unless it is here."""
        config = offer.manifest.config
        held = self._catalogue.by_id(config.digest) if config is not None else None
        if held is None:
            return await self._fetch(say, reference, offer, login)
        if before is None or before.id != held.id:
            for layer in offer.manifest.layers or ():
                say(messages.layer_status("Already exists", short(layer.digest)))
        return held.id

    async def _ask(self, reference: Reference, login: Sequence[str], platform: Platform) -> _Offer:
        raw = await self._manifest(reference, login)
        top = parse_manifest(raw)
        digest = reference.digest or manifest_digest(raw)
        if not top.is_index:
            return _Offer(digest, raw, digest, top)
        chosen = choose(top, platform)
        if chosen is None:
            raise PlatformMissing(reference.familiar, str(platform))
        inner = await self._manifest(reference.with_digest(chosen.digest), login)
        return _Offer(digest, inner, chosen.digest, parse_manifest(inner))

    async def _manifest(self, reference: Reference, login: Sequence[str]) -> bytes:
        # skopeo takes a tag or a digest, not both; the digest says more.
        asked = replace(reference, tag="") if reference.digest else reference
        try:
            return await self._skopeo.raw_manifest(asked, login)
        except ProgramFailed as exc:
            raise pull_refusal(exc.said, reference) from exc

    async def _fetch(self, say: Say, reference: Reference, offer: _Offer, login: Sequence[str]) -> ImageId:
        progress = _PullProgress(say, offer.manifest.layers or [])
        progress.begin()
        source = reference.with_digest(offer.manifest_digest)
        try:
            ident = await self._intake.fetch(
                f"docker://{source.full}",
                manifest=offer.raw,
                config=lambda: self._skopeo.config(source, login),
                options=[*self._skopeo.tls(reference, "src-"), *_prefixed(login, "src-")],
                on_output=progress.feed,
                on_layer=progress.layer,
            )
        except ProgramFailed as exc:
            raise pull_refusal(exc.said, reference) from exc
        progress.end()
        return ident

    async def push(self, reference: Reference, *, auth: AuthConfig | None = None) -> AsyncGenerator[Message, None]:
        """Send an image, or without a tag every tag of the repository, to its registry."""
        yield messages.status(f"The push refers to repository [{reference.repository}]")
        found = self._catalogue.tagged(reference.repository)
        pairs = [(image, name) for image, names in found for name in names if reference.tag in ("", name.tag)]
        if not pairs:
            named = reference.familiar if found else reference.familiar_repository
            raise NothingToPush(named, tagged=bool(found))
        for image, name in pairs:
            key = f"push {name.full} {image.id}"
            async with aclosing(self._jobs.join(key, partial(self._push, image, name, auth))) as one:
                async for message in one:
                    yield message

    async def _push(self, image: ImageRecord, name: Reference, auth: AuthConfig | None, say: Say) -> None:
        progress = _PushProgress(say, image)
        progress.begin()
        async with AsyncExitStack() as stack:
            login = await stack.enter_async_context(self._skopeo.credentials(name.registry, auth))
            directory = await stack.enter_async_context(scratch(self._layout, "push"))
            await in_thread(lay_out, self._intake.storage, image.stored, directory / "image")
            options = [
                *self._skopeo.tls(name, "dest-"),
                *_prefixed(login, "dest-"),
                "--digestfile",
                f"{directory}/digest",
            ]
            if is_packed(image.stored):
                # As it came, so it goes; layers that are not packed get packed on the way instead.
                options.append("--preserve-digests")
            try:
                await self._skopeo.copy(
                    f"dir:{directory}/image", f"docker://{name.full}", options=options, on_output=progress.feed
                )
            except ProgramFailed as exc:
                raise push_refusal(exc.said) from exc
            digest = (directory / "digest").read_text(encoding="ascii").strip()
            size = len(await self._manifest(name.with_digest(digest), login))
        progress.end()
        async with self._intake.locks.hold(image.id):
            if self._catalogue.by_id(image.id) is not None:  # not removed while it was sent
                await self._catalogue.put(name.with_digest(digest), image.id)
        say(messages.status(f"{name.tag}: digest: {digest} size: {size}"))
        say({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": digest, "Size": size}})
        self._publish("push", name.familiar, name.familiar_repository)

    async def distribution(self, reference: Reference, *, auth: AuthConfig | None = None) -> dict[str, Any]:
        """Return what a registry has under a name: descriptor and platforms, as the API shows it."""
        async with self._skopeo.credentials(reference.registry, auth) as login:
            raw = await self._manifest(reference, login)
            top = parse_manifest(raw)
            if top.is_index:
                platforms: list[dict[str, object]] = [entry.platform for entry in top.manifests or () if entry.platform]
            else:
                config = msgspec.json.decode(await self._skopeo.config(reference, login), type=dict[str, Any])
                platforms = [{key: config[key] for key in ("architecture", "os", "variant") if config.get(key)}]
        descriptor = {
            "mediaType": top.media_type or DOCKER_MANIFEST,
            "digest": reference.digest or digest_of(raw),
            "size": len(raw),
        }
        return {"Descriptor": descriptor, "Platforms": platforms}

    async def login(self, auth: AuthConfig) -> None:
        """Ask a registry whether credentials are good; raises `BadCredentials`."""
        registry = registry_of(auth.serveraddress or "")
        try:
            await self._skopeo.login(registry, auth)
        except ProgramFailed as exc:
            raise login_refusal(exc.said, registry) from exc


def registry_of(address: str) -> str:
    """Return the registry that a server address means; Docker's hub has an old one with a path."""
    host = address.partition("://")[2] or address
    host = host.partition("/")[0]
    return "docker.io" if host in {"", "index.docker.io", "registry-1.docker.io"} else host


def _prefixed(options: Sequence[str], prefix: str) -> list[str]:
    """Turn the options of an inspection into those for one side of a copy."""
    return [f"--{prefix}{part[2:]}" if part.startswith("--") else part for part in options]


class _PullProgress:
    """Turns what skopeo draws into Docker's words for a pull."""

    def __init__(self, say: Say, layers: Sequence[Descriptor]) -> None:
        self._say = say
        self._sizes = {short(layer.digest): layer.size for layer in layers}
        self._state: dict[str, str] = {}
        self._drawing = Drawing()

    def begin(self) -> None:
        for ident in self._sizes:
            self._say(messages.layer_status("Pulling fs layer", ident))

    def feed(self, piece: bytes) -> None:
        for seen in self._drawing.feed(piece):
            if seen.blob in self._sizes:
                self._show(seen)

    def layer(self, blob: str, done: bool) -> None:  # noqa: FBT001  an `OnLayer`
        """Say that a layer begins to be unpacked, or is."""
        ident = short(blob)
        if ident not in self._sizes:
            return  # of a manifest that had to be converted
        if self._state.get(ident) != "Download complete":
            self._set(ident, "Download complete")
        if done:
            self._set(ident, "Pull complete")
        else:
            self._say(messages.progress("Extracting", ident, self._sizes[ident], self._sizes[ident]))

    def _show(self, seen: BlobProgress) -> None:
        if seen.blob in self._state:
            return  # what is drawn may lag behind
        if seen.skipped:
            self._set(seen.blob, "Already exists")
        elif seen.done:
            self._set(seen.blob, "Download complete")
        else:
            size = self._sizes[seen.blob]
            self._say(messages.progress("Downloading", seen.blob, min(seen.current, size or seen.current), size))

    def _set(self, blob: str, state: str) -> None:
        self._state[blob] = state
        self._say(messages.layer_status(state, blob))

    def end(self) -> None:
        for blob in self._sizes:
            state = self._state.get(blob)
            if state is None:
                self._set(blob, "Download complete")
            if state not in ("Already exists", "Pull complete"):
                self._set(blob, "Pull complete")


class _PushProgress:
    """Turns what skopeo draws, by blobs, into Docker's words for a push, by the digests of what is in them."""

    def __init__(self, say: Say, image: ImageRecord) -> None:
        self._say = say
        self._layers = {short(layer.blob): short(layer.diff_id) for layer in image.stored.layer_chain}
        self._sizes = {short(layer.diff_id): layer.tar_size for layer in image.stored.layer_chain}
        self._sent: set[str] = set()
        self._drawing = Drawing()

    def begin(self) -> None:
        for ident in reversed(self._sizes):
            self._say(messages.layer_status("Preparing", ident))

    def feed(self, piece: bytes) -> None:
        for seen in self._drawing.feed(piece):
            layer = self._layers.get(seen.blob)
            if layer is None or seen.skipped:
                continue
            size = seen.total or self._sizes[layer]
            self._sent.add(layer)
            current = size if seen.done else min(seen.current, size)
            self._say(messages.progress("Pushing", layer, current, size))

    def end(self) -> None:
        for ident in self._sizes:
            self._say(messages.layer_status("Pushed" if ident in self._sent else "Layer already exists", ident))
