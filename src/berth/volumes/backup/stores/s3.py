"""Backups as objects of a bucket (``s3://bucket/prefix``), through boto3, which is an optional package.

Credentials, region and endpoint come from where boto3 looks for them in the engine's environment. An object appears
only when its upload is completed; one that fails is aborted. Calls block in threads.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from berth.base.aio import finish, in_thread
from berth.base.ids import new_id
from berth.kernel.archiving import Packer
from berth.volumes.backup.errors import StoreFailed, StoreUnavailable
from berth.volumes.backup.stores.base import Entry, Volume, described
from berth.wire import backups as wire

#: Bytes of the first parts …
_PART: Final = 32 << 20
#: … which double each time so many were sent: with the 10,000 parts S3 takes at most, archives may have 1.2 TB.
_DOUBLE_AFTER: Final = 2500
_READ: Final = 1 << 20
#: Characters of every name that nobody else comes upon. S3 replaces an object by one of the same name without a word,
#: and few services that speak its language can be told not to: two backups of one second, perhaps of two machines, must
#: not meet.
_MARK: Final = 12


class S3Store:
    """A prefix in a bucket."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._said = f"s3://{bucket}/{prefix}"
        self._client: Any = None

    def turn(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Wait for nobody: every backup is a file of its own."""
        del names
        return contextlib.nullcontext()

    async def save(self, volume: Volume, name: str) -> Entry:
        """Upload part after part while the archive is made."""
        packing = volume.packing(name)
        encrypted = "age" if packing.encrypt and "recipients" in packing.encrypt else "passphrase"
        final = wire.file_name(
            name, volume.stamp, packing.pack, encrypted=encrypted if packing.encrypt else "", mark=new_id()[:_MARK]
        )
        key = self._prefix + final
        upload = (await self._call("create_multipart_upload", Key=key))["UploadId"]
        try:
            packer = Packer(packing)
            parts, size = await self._parts(packer, key, upload)
            await self._call("complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
        except BaseException:
            with contextlib.suppress(StoreFailed):  # what went wrong first is told; S3 may be gone altogether
                await finish(self._call("abort_multipart_upload", Key=key, UploadId=upload))
            raise
        return Entry(name=final, volume=name, size=size, head=volume.head(name), end=packer.end)

    async def _parts(self, packer: Packer, key: str, upload: str) -> tuple[list[dict[str, Any]], int]:
        parts: list[dict[str, Any]] = []
        size = 0
        waiting = bytearray()

        async def send() -> None:
            number = len(parts) + 1
            said = await self._call("upload_part", Key=key, UploadId=upload, PartNumber=number, Body=bytes(waiting))
            parts.append({"PartNumber": number, "ETag": said["ETag"]})
            waiting.clear()

        async for piece in packer.pieces():
            waiting += piece
            size += len(piece)
            if len(waiting) >= _PART << len(parts) // _DOUBLE_AFTER:
                await send()
        await send()
        return parts, size

    async def entries(self) -> Sequence[Entry]:
        """List the objects, and read the two ends of each."""
        found: list[Entry] = []
        more: dict[str, Any] = {}
        while True:
            said = await self._call("list_objects_v2", Prefix=self._prefix, **more)
            for one in said.get("Contents", ()):
                name, size = one["Key"].removeprefix(self._prefix), one["Size"]
                if "/" in name or not size:
                    continue
                beginning = await self._range(one["Key"], 0, min(size, 128 << 10))
                ending = await self._range(one["Key"], max(0, size - wire.TAIL_BYTES), size)
                entry = described(name, size, beginning, ending)
                if entry is not None:
                    found.append(entry)
            if not said.get("IsTruncated"):
                return found
            more = {"ContinuationToken": said["NextContinuationToken"]}

    async def _range(self, key: str, start: int, end: int) -> bytes:
        said = await self._call("get_object", Key=key, Range=f"bytes={start}-{end - 1}")
        data: bytes = await in_thread(said["Body"].read)
        return data

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Leave it to `read`."""
        del name
        return None

    async def unpack(self, name: str, into: Path) -> Path:
        """Leave it to `read`."""
        raise NotImplementedError(name, into)

    async def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the object."""
        said = await self._call("get_object", Key=self._prefix + name)
        with contextlib.closing(said["Body"]) as body:
            while piece := await in_thread(body.read, _READ):
                yield piece

    async def verify(self, name: str) -> bool:
        """Leave it to `read`."""
        del name
        return False

    async def drop(self, names: Sequence[str]) -> None:
        """Delete objects."""
        for name in names:
            await self._call("delete_object", Key=self._prefix + name)

    async def _call(self, what: str, **words: Any) -> Any:  # noqa: ANN401  boto3 has no types
        return await in_thread(self._blocking, what, words)

    def _blocking(self, what: str, words: dict[str, Any]) -> Any:  # noqa: ANN401
        try:
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise StoreUnavailable(
                f"{self._said}: the Python package boto3 is not installed; install it beside Berth: pip install boto3"
            ) from None
        try:
            if self._client is None:
                self._client = boto3.client("s3")
            return getattr(self._client, what)(Bucket=self._bucket, **words)
        except (BotoCoreError, ClientError) as exc:
            raise StoreFailed(self._said, str(exc)) from exc
