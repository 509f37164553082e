"""``/berth/volumes/…``: backups and archives of volumes, streamed both ways."""

import base64
import binascii
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.errors import to_response
from berth.api.routes import Route
from berth.base.errors import EngineError, InvalidArgument
from berth.kernel.archiving import Unpacked
from berth.volumes.backup.model import BackupOptions, RestoreOptions, parse_pack, parse_recipients
from berth.volumes.backup.stores.base import Entry, Store, condemned
from berth.volumes.consistency.model import Wish, parse_mode
from berth.wire import backups as wire
from berth.wire.retention import RULES

#: Headers that carry secrets, base64 of UTF-8: paths and queries get into logs.
_IDENTITY: Final = "X-Berth-Identity"
_PASSPHRASE: Final = "X-Berth-Passphrase"  # noqa: S105  the header's name
_PIECE: Final = 1 << 20


def _secret(call: Call, header: str) -> str:
    try:
        return base64.b64decode(call.request.headers.get(header, ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidArgument(f"header {header} is no base64 of UTF-8") from None


def _wish(call: Call) -> Wish:
    return Wish(mode=parse_mode(call.text("consistency")), pre=call.text("pre"), post=call.text("post"))


def _options(call: Call) -> BackupOptions:
    pack, level = parse_pack(call.text("compress"))
    recipients = parse_recipients(call.texts("recipient"))
    passphrase = _secret(call, _PASSPHRASE)
    if recipients and passphrase:
        raise InvalidArgument("a backup is encrypted to keys or with a passphrase, not both")
    return BackupOptions(
        pack=pack, level=level, recipients=recipients, passphrase=passphrase, reread=call.flag("reread"),
        wish=_wish(call),
    )  # fmt: skip


async def backup(call: Call) -> web.StreamResponse:
    """GET /berth/volumes/backup?volume=…: archives of volumes held still together, in frames (`berth.wire.backups`)."""
    names = list(dict.fromkeys(call.texts("volume")))
    if not names:
        raise InvalidArgument("no volume is named")
    options = _options(call)
    async with call.engine.backups.archiving(names, options) as archiving:
        response = await call.stream(wire.CONTENT_TYPE)

        async def send(kind: bytes, **words: object) -> None:
            await response.write(wire.frame(kind, msgspec.json.encode(words)))

        try:
            for number, name in enumerate(archiving.names):
                file_name = wire.file_name(name, archiving.stamp, options.pack, encrypted=options.encrypted)
                await send(wire.BEGIN, volume=name, name=file_name, head=archiving.head(name))
                packer = archiving.pack(name)
                async for piece in packer.pieces():
                    await response.write(wire.frame(wire.DATA, piece))
                    await send(wire.PROGRESS, files=packer.seen[0], bytes=packer.seen[1])
                if number == len(archiving.names) - 1:
                    await archiving.release()
                await send(wire.END, **packer.end, consistency=archiving.report())
        except (EngineError, OSError) as exc:
            # The answer has begun: what went wrong comes as its last frame.
            await send(wire.ERROR, message=to_response(exc)[1]["message"])
    await response.write_eof()
    return response


async def export(call: Call) -> web.StreamResponse:
    """GET /berth/volumes/{name}/export: a plain tar; one that is cut off if something goes wrong."""
    options = BackupOptions(pack="none", level=0, wish=_wish(call))
    async with call.engine.backups.archiving([call.path["name"]], options) as archiving:
        pieces = archiving.pack(call.path["name"]).pieces()
        first = await anext(pieces)
        response = await call.stream("application/x-tar")
        await response.write(first)
        try:
            async for piece in pieces:
                await response.write(piece)
        except (EngineError, OSError) as exc:
            if call.request.transport is not None:
                call.request.transport.abort()
            raise ConnectionAbortedError(str(exc)) from exc
    await response.write_eof()
    return response


def _restore_options(call: Call, name: str) -> RestoreOptions:
    return RestoreOptions(
        name=name,
        overwrite=call.flag("overwrite"),
        keep_prefix=call.flag("keepprefix"),
        identity=_secret(call, _IDENTITY),
        passphrase=_secret(call, _PASSPHRASE),
        most=max(0, call.integer("maxsize", 0) or 0),
        ratio=max(0, call.integer("maxratio", 0) or 0),
    )


def _shown(unpacked: Unpacked) -> dict[str, object]:
    return {
        "Head": unpacked.head, "End": unpacked.end, "Files": unpacked.files, "Bytes": unpacked.bytes,
        "Members": unpacked.members, "ArchiveBytes": unpacked.read, "Prefix": unpacked.prefix,
    }  # fmt: skip


async def restore(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/restore: the body, or backup ``from`` of a store, becomes a volume's data."""
    options = _restore_options(call, call.text("as"))
    if call.text("from"):
        done = await call.engine.backups.take_back(_store(call), call.text("from"), options)
    else:
        done = await call.engine.backups.restore(call.request.content.iter_chunked(_PIECE), options)
    return call.json({"Name": done.name, "New": done.new, "Notes": done.notes, **_shown(done.unpacked)})


async def import_(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/{name}/import: the body becomes the data of a volume, which is made if there is none."""
    options = msgspec.structs.replace(_restore_options(call, call.path["name"]), into_empty=True, keep_prefix=True)
    done = await call.engine.backups.restore(call.request.content.iter_chunked(_PIECE), options)
    return call.json({"Name": done.name, "New": done.new, "Notes": done.notes, **_shown(done.unpacked)})


async def verify(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/verify: read the archive in the body, or backup ``from`` of a store, and check every sum."""
    source: AsyncIterator[bytes] = call.request.content.iter_chunked(_PIECE)
    if call.text("from"):
        store = _store(call)
        if await store.verify(call.text("from")):
            return call.json({"Store": call.text("store"), "Name": call.text("from")})
        source = store.read(call.text("from"))
    return call.json(_shown(await call.engine.backups.verify(source, _restore_options(call, ""))))


def _store(call: Call) -> Store:
    return call.engine.backups.store(call.text("store"), call.text("passwordfile"))


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "Name": entry.name, "Volume": entry.volume, "Stamp": entry.stamp, "Size": entry.size, "State": entry.state,
        "Head": entry.head, "End": entry.end, "Unchanged": entry.unchanged,
    }  # fmt: skip


async def keep(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/stores/backups?store=…&volume=…: back volumes up to a place of the engine's."""
    names = list(dict.fromkeys(call.texts("volume")))
    if not names:
        raise InvalidArgument("no volume is named")
    return call.json([_entry(one) for one in await call.engine.backups.keep(names, _options(call), _store(call))])


async def list_(call: Call) -> web.StreamResponse:
    """GET /berth/volumes/stores/backups?store=…: what a place holds."""
    found = sorted(await _store(call).entries(), key=lambda one: one.key, reverse=True)
    return call.json([_entry(one) for one in sorted(found, key=lambda one: one.volume)])


async def prune(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/stores/prune?store=…&daily=…: remove what the rules do not keep."""
    rules = {rule: max(0, call.integer(rule, 0) or 0) for rule in RULES}
    if not any(rules.values()):
        raise InvalidArgument("no rule says what to keep")
    store, only = _store(call), call.texts("volume")
    found = [one for one in await store.entries() if not only or one.volume in only]
    gone = condemned(found, rules)
    if not call.flag("dryrun"):
        await store.drop([one.name for one in gone])
    names = {one.name for one in gone}
    return call.json({
        "Removed": [_entry(one) for one in gone],
        "Kept": [_entry(one) for one in found if one.name not in names],
    })  # fmt: skip


async def schedules(call: Call) -> web.StreamResponse:
    """GET /berth/volumes/schedules: what is backed up by itself, and how that goes."""
    return call.json(call.engine.automatic.states())


ROUTES: Final = (
    Route("GET", "/berth/volumes/backup", backup, stream=True),
    Route("GET", "/berth/volumes/schedules", schedules),
    Route("POST", "/berth/volumes/stores/backups", keep, stream=True),
    Route("GET", "/berth/volumes/stores/backups", list_),
    Route("POST", "/berth/volumes/stores/prune", prune),
    Route("POST", "/berth/volumes/restore", restore, stream=True),
    Route("POST", "/berth/volumes/verify", verify, stream=True),
    Route("GET", "/berth/volumes/{name}/export", export, stream=True),
    Route("POST", "/berth/volumes/{name}/import", import_, stream=True),
)
