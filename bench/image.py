"""An image of a given size as a docker archive: layers half of random bytes, half of text, as real ones compress."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path


def docker_archive(target: Path, reference: str, layers_mb: Sequence[int]) -> Path:
    """Write the archive and return its path."""
    diff_ids: list[str] = []
    names: list[str] = []
    with tarfile.open(target, "w") as archive:
        for number, size in enumerate(layers_mb):
            body = _layer(number, size)
            digest = hashlib.sha256(body).hexdigest()
            diff_ids.append(f"sha256:{digest}")
            names.append(f"{digest}/layer.tar")
            _add(archive, names[-1], body)
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "2026-01-01T00:00:00Z",
                "config": {"Cmd": ["true"]},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [
                    {"created": "2026-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(layers_mb))
                ],
            }
        ).encode()
        name = hashlib.sha256(config).hexdigest() + ".json"
        _add(archive, name, config)
        manifest = [{"Config": name, "RepoTags": [reference], "Layers": names}]
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return target


def _layer(number: int, size_mb: int) -> bytes:
    """One layer: files of 1 MB in turn random and repetitive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for index in range(size_mb):
            body = os.urandom(1 << 20) if index % 2 else (f"layer {number} file {index}\n".encode() * 70_000)[: 1 << 20]
            _add(layer, f"data/{number}/{index:04d}", body)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(body)
    archive.addfile(entry, io.BytesIO(body))
