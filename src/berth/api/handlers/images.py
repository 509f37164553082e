"""Images over HTTP."""

import base64
import binascii
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import InvalidArgument, NotImplementedYet
from berth.images.download import downloaded
from berth.images.manifest import Platform, parse_platform
from berth.images.messages import Message, in_band
from berth.images.reference import Reference, is_digest, parse_reference
from berth.wire.decode import strictly
from berth.wire.images import AuthConfig


async def listing(call: Call) -> web.StreamResponse:
    """``GET /images/json``."""
    shared_size = call.flag("shared-size")
    return call.json(call.engine.images.listing(call.filters(), shared_size=shared_size, version=call.version))


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /images/{name}/json``."""
    return call.json(call.engine.images.inspect(call.path["name"], call.version))


async def history(call: Call) -> web.StreamResponse:
    """``GET /images/{name}/history``."""
    return call.json(call.engine.images.history(call.path["name"]))


async def create(call: Call) -> web.StreamResponse:
    """``POST /images/create``: pull (`fromImage`) or import (`fromSrc`)."""
    if call.text("fromImage"):
        reference = _named(call.text("fromImage"), call.text("tag"))
        # Neither tag nor digest means every tag; clients add "latest" themselves where that is meant.
        pull = call.engine.images.pull if reference.tag or reference.digest else call.engine.images.pull_all
        return await _relay(call, pull(reference, auth=_auth(call), platform=_platform(call)))
    source = call.text("fromSrc")
    if not source:
        raise InvalidArgument("either fromImage or fromSrc is needed")
    target = _named(call.text("repo"), call.text("tag")) if call.text("repo") else None
    imported = call.engine.images.import_(
        call.request.content.iter_any() if source == "-" else downloaded(source),
        target=target,
        message=call.text("message"),
        changes=call.texts("changes"),
        source=source,
        platform=_platform(call),
    )
    return await _relay(call, imported)


async def push(call: Call) -> web.StreamResponse:
    """``POST /images/{name}/push``; without `tag` every tag of the repository goes."""
    reference = parse_reference(call.path["name"])
    if call.text("tag"):
        reference = reference.with_tag(call.text("tag"))
    return await _relay(call, call.engine.images.push(reference, auth=_auth(call)))


async def load(call: Call) -> web.StreamResponse:
    """``POST /images/load``."""
    return await _relay(call, call.engine.images.load(call.request.content.iter_any(), quiet=call.flag("quiet")))


async def save(call: Call) -> web.StreamResponse:
    """``GET /images/get?names=…`` and ``GET /images/{name}/get``."""
    names = [call.path["name"]] if "name" in call.path else call.texts("names")
    async with aclosing(call.engine.images.save(names)) as pieces:
        first = await anext(pieces)
        response = await call.stream("application/x-tar")
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
    await response.write_eof()
    return response


async def tag(call: Call) -> web.StreamResponse:
    """``POST /images/{name}/tag``."""
    await call.engine.images.tag(call.path["name"], call.text("repo"), call.text("tag"))
    return call.empty(201)


async def remove(call: Call) -> web.StreamResponse:
    """``DELETE /images/{name}``."""
    return call.json(await call.engine.images.remove(call.path["name"], force=call.flag("force")))


async def prune(call: Call) -> web.StreamResponse:
    """``POST /images/prune``."""
    return call.json(await call.engine.images.prune(call.filters()))


async def distribution(call: Call) -> web.StreamResponse:
    """``GET /distribution/{name}/json``: what the registry has under a name."""
    reference = parse_reference(call.path["name"]).or_latest()
    return call.json(await call.engine.images.distribution(reference, auth=_auth(call)))


async def login(call: Call) -> web.StreamResponse:
    """``POST /auth``: are these credentials good."""
    await call.engine.images.login(await call.body(AuthConfig))
    return call.json({"Status": "Login Succeeded", "IdentityToken": ""})


async def search(_call: Call) -> web.StreamResponse:
    """``GET /images/search``: not offered."""
    raise NotImplementedYet("searching registries is not offered by this engine; look on the registry's own pages")


async def bootstrap(call: Call) -> web.StreamResponse:
    """``POST /berth/images/bootstrap?name=RECIPE&tag=NAME``: make an image from this machine's packages."""
    target = parse_reference(call.text("tag")) if call.text("tag") else None
    return await _relay(call, call.engine.images.bootstrap(call.text("name"), target))


async def recipes(call: Call) -> web.StreamResponse:
    """``GET /berth/images/recipes``: what bootstrap can make."""
    return call.json([{"Name": name} for name in call.engine.images.recipes])


async def _relay(call: Call, messages: AsyncGenerator[Message, None]) -> web.StreamResponse:
    """Send a progress stream; the first message is awaited before the status, so that early errors keep theirs."""
    async with aclosing(in_band(messages)) as flow:
        first = await anext(flow, None)
        response = await call.stream("application/json")
        if first is not None:
            await response.write(msgspec.json.encode(first) + b"\r\n")
        async for message in flow:
            await response.write(msgspec.json.encode(message) + b"\r\n")
    await response.write_eof()
    return response


def _named(name: str, tag_or_digest: str) -> Reference:
    reference = parse_reference(name)
    if is_digest(tag_or_digest):
        return reference.with_digest(tag_or_digest)
    return reference.with_tag(tag_or_digest) if tag_or_digest else reference


def _platform(call: Call) -> Platform | None:
    text = call.text("platform")
    return parse_platform(text, call.engine.images.platform) if text else None


def _auth(call: Call) -> AuthConfig | None:
    """Read ``X-Registry-Auth``: JSON in base64 for URLs, padded or not."""
    text = call.request.headers.get("X-Registry-Auth", "")
    if not text:
        return None
    try:
        raw = base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4))
        return strictly(raw, AuthConfig)
    except (binascii.Error, msgspec.DecodeError, RecursionError):
        raise InvalidArgument("invalid X-Registry-Auth header") from None


ROUTES: tuple[Route, ...] = (
    Route("GET", "/images/json", listing),
    Route("POST", "/images/create", create, stream=True),
    Route("POST", "/images/load", load, stream=True),
    Route("POST", "/images/prune", prune),
    Route("GET", "/images/get", save, stream=True),
    Route("GET", "/images/search", search),
    Route("GET", "/images/{name:.*}/json", inspect),
    Route("GET", "/images/{name:.*}/history", history),
    Route("GET", "/images/{name:.*}/get", save, stream=True),
    Route("POST", "/images/{name:.*}/push", push, stream=True),
    Route("POST", "/images/{name:.*}/tag", tag),
    Route("DELETE", "/images/{name:.*}", remove),
    Route("GET", "/distribution/{name:.*}/json", distribution, stream=True),
    Route("POST", "/auth", login),
    Route("POST", "/berth/images/bootstrap", bootstrap, stream=True),
    Route("GET", "/berth/images/recipes", recipes),
)
