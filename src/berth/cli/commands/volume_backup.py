"""`berth volume backup`, `restore`, `verify`, `export`, `import`: volumes and files on this side of the API."""

from __future__ import annotations

import os
import sys

from berth.cli import stores
from berth.cli.backup_output import Meter, Target
from berth.cli.command import Command
from berth.cli.errors import CommandFailed
from berth.cli.flags import Flag, Parsed
from berth.client.http import part
from berth.wire import backups as wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, Any

    from berth.cli.session import Session

_PIECE = 1 << 20


# -- making


def _backup(session: Session, parsed: Parsed) -> None:
    names = list(dict.fromkeys(parsed.args))
    output = parsed.text("output")
    place = stores.place_of(parsed, output if output.startswith("s3://") else "")
    if place is not None:
        _keep(session, parsed, names, place)
        return
    if len(names) > 1 and output and not os.path.isdir(output):
        raise CommandFailed(f"several volumes need a directory (-o DIR); {output} is none")
    if output == "-" and os.isatty(1):
        raise CommandFailed("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    answer = session.client.stream("GET", "/berth/volumes/backup", _query(parsed, names), headers=_secrets(parsed))
    _receive(session, answer.chunks(), output, quiet=parsed.flag("quiet"))


def _query(parsed: Parsed, names: list[str]) -> dict[str, Any]:
    if parsed.flag("gzip") and parsed.text("compress"):
        raise CommandFailed("--gzip and --compress exclude each other")
    return {
        "volume": names,
        "compress": "gzip" if parsed.flag("gzip") else parsed.text("compress") or None,
        "consistency": parsed.text("consistency") or None,
        "pre": parsed.text("pre") or None,
        "post": parsed.text("post") or None,
        "reread": True if parsed.flag("reread") else None,
        "recipient": _recipients(parsed.list("encrypt")) or None,
    }


def _keep(session: Session, parsed: Parsed, names: list[str], place: stores.Place) -> None:
    from berth.cli.backup_files import moment
    from berth.cli.human import plural, size

    query = {**_query(parsed, names), **place.query}
    made = session.client.post("/berth/volumes/stores/backups", query, None, _secrets(parsed))
    for one in made:
        for words in one["End"].get("changed", ()):
            session.warn(f"Warning: {one['Volume']}: {words}")
        if parsed.flag("quiet"):
            session.line(one["Name"])
            continue
        end = one["End"]
        what = f"{end['files']} file{plural(end['files'])}, {size(end['bytes'])}"
        since = f"unchanged since {moment(one['Stamp'])}" if one["Unchanged"] else f"{size(end['packed'])} added"
        session.line(f"{one['Volume']}: {what}, in {place.text} as {one['Name']} ({since})")


def _receive(session: Session, pieces: Iterator[bytes], output: str, *, quiet: bool) -> None:
    import json

    meter = Meter(quiet=quiet)
    target: Target | None = None
    volume = ""
    try:
        for kind, body in wire.frames(pieces):
            if kind == wire.DATA and target is not None:
                target.write(body)
                continue
            said = json.loads(body)
            if kind == wire.BEGIN:
                volume = said["volume"]
                target = Target(output, said["name"])
                target.open()
            elif kind == wire.PROGRESS:
                meter.show(volume, said["bytes"], f", {said['files']} files")
            elif kind == wire.ERROR:
                raise CommandFailed(f"backup of {volume} failed: {said['message']}")
            elif kind == wire.END and target is not None:
                meter.clear()
                target.finish()
                _told(session, volume, target.path, said, quiet=quiet)
                target = None
        if target is not None or not volume:
            raise CommandFailed(f"backup of {volume} failed: the engine hung up")
    finally:
        meter.clear()
        if target is not None:
            target.drop()


def _told(session: Session, volume: str, path: str, said: dict[str, Any], *, quiet: bool) -> None:
    from berth.cli.human import plural, size

    for words in (*said.get("changed", ()), *said["consistency"]["Warnings"]):
        session.warn(f"Warning: {volume}: {words}")
    if path == "-":
        return
    if quiet:
        session.line(path)
        return
    how = said["consistency"]
    held = f", held still for {how['HeldMilliseconds']} ms" if how["Containers"] else ""
    what = f"{said['files']} file{plural(said['files'])}, {size(said['bytes'])}"
    session.line(f"{volume}: {what}, in {path} ({size(said['packed'])}); {how['How']}{held}")


def _recipients(keys: list[str]) -> list[str]:
    """Return keys; what is a file's name stands for the keys in it.

    What looks like no public key is not sent: the engine would refuse it, but on its way there it would be part of a
    path, which gets into logs, and the private half of a key is easily taken for the public one.
    """
    found = []
    for key in keys:
        if not os.path.isfile(key):
            lines = [key]
        else:
            with open(key, encoding="utf-8", errors="replace") as source:
                lines = [line.strip() for line in source if line.strip() and not line.startswith("#")]
        for line in lines:
            if "SECRET-KEY" in line.upper() or "PRIVATE KEY" in line.upper():
                raise CommandFailed(
                    f"{'that' if line == key else key} is a secret key; backups are encrypted to the public one: "
                    "age-keygen -y FILE, or the file that ends in .pub"
                )
            if line != key and not line.startswith(("age1", "ssh-")):
                raise CommandFailed(f"{key} is no file of public keys: each line is to begin with age1 or ssh-")
        found += lines
    return found


def _secrets(parsed: Parsed) -> dict[str, str]:
    from base64 import b64encode

    headers = {}
    for flag, header in (("passphrase-file", "X-Berth-Passphrase"), ("identity", "X-Berth-Identity")):
        path = parsed.text(flag) if flag in parsed.names() else ""
        if path:
            try:
                with open(path, "rb") as source:
                    secret = source.read()
            except OSError as error:
                raise CommandFailed(f"open {path}: {str(error.strerror).lower()}") from None
            if header.endswith("phrase"):
                secret = secret.split(b"\n", 1)[0].rstrip(b"\r")
                if not secret:
                    raise CommandFailed(f"{path}: its first line, which is the passphrase, is empty")
            headers[header] = b64encode(secret).decode()
    return headers


# -- taking back


def _send(session: Session, parsed: Parsed, path: str, source: str, query: dict[str, Any], what: str) -> dict[str, Any]:
    if source == "-" and os.isatty(0):
        raise CommandFailed("an archive is wanted on standard input, which is a terminal")
    try:
        opened: IO[bytes] = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115
    except OSError as error:
        raise CommandFailed(f"open {source}: {str(error.strerror).lower()}") from None
    meter = Meter(quiet="quiet" in parsed.names() and parsed.flag("quiet"))
    total = 0 if source == "-" else os.fstat(opened.fileno()).st_size

    def pieces() -> Iterator[bytes]:
        count = 0
        read: Callable[[int], bytes] = getattr(opened, "read1", opened.read) if source == "-" else opened.read
        while piece := read(_PIECE):
            yield piece
            count += len(piece)
            meter.show(what, count, total=total)

    try:
        answer: dict[str, Any] = session.client.post(path, query, pieces(), _secrets(parsed))
    finally:
        meter.clear()
        opened.close()
    return answer


def _restore(session: Session, parsed: Parsed) -> None:
    source = parsed.args[0]
    query: dict[str, Any] = {
        "as": parsed.text("as") or None,
        "overwrite": True if parsed.flag("overwrite") else None,
        "keepprefix": True if parsed.flag("keep-prefix") else None,
        **_limits(parsed),
    }
    place, name = stores.backup_in(parsed, source)
    if place is not None:
        query |= {**place.query, "from": name}
        said = session.client.post("/berth/volumes/restore", query, None, _secrets(parsed))
    else:
        said = _send(session, parsed, "/berth/volumes/restore", source, query, f"restoring {source}")
    _restored(session, parsed, said)


def _import(session: Session, parsed: Parsed) -> None:
    source = parsed.args[1] if len(parsed.args) > 1 else "-"
    query = {"overwrite": True if parsed.flag("overwrite") else None, **_limits(parsed)}
    path = f"/berth/volumes/{part(parsed.args[0])}/import"
    _restored(session, parsed, _send(session, parsed, path, source, query, f"importing {source}"))


def _limits(parsed: Parsed) -> dict[str, Any]:
    return {"maxsize": parsed.number("max-size") or None, "maxratio": parsed.number("max-ratio") or None}


def _restored(session: Session, parsed: Parsed, said: dict[str, Any]) -> None:
    for words in said["Notes"]:
        session.warn(f"Warning: {words}")
    if parsed.flag("quiet"):
        session.line(said["Name"])
        return
    if said["Prefix"]:
        session.warn(f"The archive's directory {said['Prefix']}/ became the root of the volume")
    session.line(f"{said['Name']}: {_contents(said)}")


def _contents(said: dict[str, Any]) -> str:
    from berth.cli.human import plural, size

    if said["Files"] < 0:
        return f"restored and verified by restic, as backed up at {said['Head']['time'][:19]}Z"
    told = f"{said['Files']} file{plural(said['Files'])}, {size(said['Bytes'])}"
    if said["Head"]:
        return f"{told}, all as backed up from {said['Head']['volume']} at {said['Head']['time'][:19]}Z"
    return f"{told}; the archive is no backup of Berth: it holds no sums to check them by"


def _verify(session: Session, parsed: Parsed) -> int:
    from berth.client.errors import ApiError

    status = 0
    for source in parsed.args:
        place, name = stores.backup_in(parsed, source)
        try:
            if place is not None:
                query = {**_limits(parsed), **place.query, "from": name}
                said = session.client.post("/berth/volumes/verify", query, None, _secrets(parsed))
            else:
                said = _send(session, parsed, "/berth/volumes/verify", source, _limits(parsed), f"verifying {source}")
        except ApiError as error:
            if error.status != 400:
                raise
            session.warn(f"{source}: {error.message}")
            status = 1
        else:
            session.line(
                f"{source}: {_contents(said) if 'Files' in said else 'restic read and checked the repository'}"
            )
    return status


def _export(session: Session, parsed: Parsed) -> None:
    from berth.cli.files import binary_output

    path = f"/berth/volumes/{part(parsed.args[0])}/export"
    answer = session.client.stream("GET", path, {"consistency": parsed.text("consistency") or None})
    with binary_output(parsed.text("output")) as write:
        for piece in answer.chunks():
            write(piece)


_QUIET = Flag("quiet", "q", "bool", "Show no progress, and print only names")
_CONSISTENCY = Flag(
    "consistency", "", "string",
    "How still running containers hold: none, pause, stop, freeze or hook (default: labels, else freeze)",
)  # fmt: skip
_OPENS = (
    Flag("identity", "i", "string", "File with the age identity that opens the backup"),
    Flag("passphrase-file", "", "string", "File whose first line is the passphrase that opens the backup"),
    Flag("max-size", "", "bytes", "Refuse archives that unpack to more than this"),
    Flag("max-ratio", "", "uint", "Refuse archives that unpack to more than this many times their size"),
)

BACKUP = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    _backup,
    (
        Flag("output", "o", "string", "File, directory, - or s3://bucket/prefix (default: the present directory)"),
        *stores.FLAGS,
        _CONSISTENCY,
        Flag("compress", "", "string", "How to pack: zstd[:LEVEL], gzip[:LEVEL] or none", default="", shown='"zstd:3"'),
        Flag("gzip", "", "bool", "Pack as gzip, which every tar reads"),
        Flag("encrypt", "", "list", "Encrypt to an age or SSH public key, or to those in a file"),
        Flag("passphrase-file", "", "string", "Encrypt with the passphrase in the first line of a file"),
        Flag("pre", "", "string", "Command to run before in the containers that use the volume"),
        Flag("post", "", "string", "Command to run after in the containers that use the volume"),
        Flag("reread", "", "bool", "Let restic read all, also of a volume that seems unchanged since its last backup"),
        _QUIET,
    ),
    least=1,
    most=None,
    long=(
        "Back up volumes to files\n\n"
        "A backup is a tar archive that says what it holds, with a SHA-256 of every file in it;\n"
        "any tar unpacks it. Several volumes are held still together: their backups are of one instant.\n\n"
        "Below it: berth volume backup ls, berth volume backup prune"
    ),
)
RESTORE = Command(
    "[OPTIONS] FILE|-",
    _restore,
    (
        *stores.FLAGS,
        Flag("as", "", "string", "Name of the volume (default: the one that was backed up)"),
        Flag("overwrite", "", "bool", "Replace the data of a volume that is there and that no running container uses"),
        Flag("keep-prefix", "", "bool", "Of a plain tar, keep the one directory everything is in"),
        *_OPENS,
        _QUIET,
    ),
    least=1,
    most=1,
    long=(
        "Make a volume of a backup, or replace a volume's data by it\n\n"
        "Everything is unpacked beside the volume and verified first; then it takes the volume's place in one step.\n"
        "On any error the volume is as it was. Plain tar archives (gzip, bzip2, xz, zstd) are taken too."
    ),
)
VERIFY = Command("[OPTIONS] FILE|- [FILE...]", _verify, (*stores.FLAGS, *_OPENS), least=1, most=None)
EXPORT = Command(
    "[OPTIONS] VOLUME",
    _export,
    (Flag("output", "o", "string", "Write to a file, instead of STDOUT"), _CONSISTENCY),
    least=1,
    most=1,
)
IMPORT = Command(
    "[OPTIONS] VOLUME [FILE|-]",
    _import,
    (
        Flag("overwrite", "", "bool", "Replace the data of a volume that holds some"),
        *_OPENS,
        _QUIET,
    ),
    least=1,
    most=2,
    long=(
        "Fill a volume with the files of a tar archive\n\n"
        "The volume is made if there is none. One that holds data is only replaced with --overwrite."
    ),
)
