"""Which store a text names."""

import re
from pathlib import Path
from typing import Final

from berth.volumes.backup.errors import BadBackupOption
from berth.volumes.backup.stores.base import Store
from berth.volumes.backup.stores.directory import DirectoryStore
from berth.volumes.backup.stores.restic import Repositories, ResticStore
from berth.volumes.backup.stores.s3 import S3Store

_S3: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?\Z")


def open_store(text: str, password_file: str, repositories: Repositories) -> Store:
    """Return the store: ``/directory``, ``s3://bucket/prefix``, ``restic:REPOSITORY``. Raises `BadBackupOption`.

    `password_file` opens a repository; `repositories` is what the engine has for all of them.
    """
    if text.startswith("restic:"):
        return ResticStore(text.removeprefix("restic:"), password_file, repositories)
    if match := _S3.match(text):
        return S3Store(match[1], match[2] or "")
    if text.startswith("/") and "\0" not in text:
        return DirectoryStore(Path(text))
    raise BadBackupOption(
        f'invalid target "{text}": a directory (/…) of the engine\'s machine, s3://bucket/prefix or restic:REPOSITORY '
        "is wanted"
    )
