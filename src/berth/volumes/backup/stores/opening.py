"""Which store a text names."""

import re
from pathlib import Path
from typing import Final

from berth.volumes.backup.errors import BadBackupOption
from berth.volumes.backup.stores.base import Store
from berth.volumes.backup.stores.directory import DirectoryStore
from berth.volumes.backup.stores.restic import ResticStore
from berth.volumes.backup.stores.s3 import S3Store
from berth.volumes.backup.unchanged import Marks

_S3: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?\Z")


def open_store(text: str, password_file: str, scratch: Path, marks: Marks) -> Store:
    """Return the store: ``/directory``, ``s3://bucket/prefix``, ``restic:REPOSITORY``. Raises `BadBackupOption`.

    `password_file` opens a repository; `scratch` is a directory of the engine's for what restic has to be told; `marks`
    say what is in repositories already.
    """
    if text.startswith("restic:"):
        return ResticStore(text.removeprefix("restic:"), password_file, scratch, marks)
    if match := _S3.match(text):
        return S3Store(match[1], match[2] or "")
    if text.startswith("/") and "\0" not in text:
        return DirectoryStore(Path(text))
    raise BadBackupOption(
        f'invalid target "{text}": a directory (/…) of the engine\'s machine, s3://bucket/prefix or restic:REPOSITORY '
        "is wanted"
    )
