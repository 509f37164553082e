"""An image of a given size as a docker archive, of this machine's own files: as many, and as compressible, as in real ones."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Where the files of each layer come from.
SOURCES = (Path("/usr/lib"), Path("/usr/share"), Path("/usr/bin"))


def docker_archive(target: Path, reference: str, layers_mb: Sequence[int], *, variant: int = 0) -> Path:
    """Write the archive and return its path; images of another `variant` share no layer with it."""
    diff_ids: list[str] = []
    names: list[str] = []
    with tarfile.open(target, "w") as archive:
        for number, size in enumerate(layers_mb):
            body = _layer(f"variant{variant}/layer{number}", SOURCES[number % len(SOURCES)], size)
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


def _layer(place: str, source: Path, size_mb: int) -> bytes:
    """One layer: files of this machine, large and small as they come, until the layer has its size."""
    buffer = io.BytesIO()
    left = size_mb << 20
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path in _files(source):
            try:
                body = path.read_bytes()
            except OSError:
                continue
            if len(body) > left:
                break
            left -= len(body)
            _add(layer, f"{place}{path}", body)
    return buffer.getvalue()


def _files(top: Path) -> Iterator[Path]:
    for below, directories, names in os.walk(top):
        directories.sort()
        for name in sorted(names):
            path = Path(below, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 4 << 20:
                yield path


def _add(archive: tarfile.TarFile, name: str, body: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(body)
    archive.addfile(entry, io.BytesIO(body))
