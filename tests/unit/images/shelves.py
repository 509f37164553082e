"""An image store made by hand."""

import json
from hashlib import sha256
from pathlib import Path

from berth.images.record import short_name


def digest(text: str) -> str:
    """Return a digest that `text` stands for."""
    return sha256(text.encode()).hexdigest()


class Shelf:
    """Writes a store below `root`. A layer is named by the hex of its digest, which is also that of its blob."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._below: dict[str, str] = {}
        for part in ("blobs/sha256", "layers", "records"):
            (root / part).mkdir(parents=True)

    def layer(self, name: str, parent: str = "", *, size: int = 100) -> str:
        ident = digest(name)
        self._below[ident] = parent
        home = self.home(ident)
        (home / "diff").mkdir(parents=True)
        row = {"diff_id": f"sha256:{ident}", "size": size, "tar_size": size + 1024}
        (home / "layer.json").write_text(json.dumps(row))
        (self.root / "blobs/sha256" / ident).write_text(name)
        return ident

    def home(self, layer: str) -> Path:
        return self.root / "layers" / short_name(f"sha256:{layer}")

    def image(
        self, layer: str, *, created: str = "2026-01-01T00:00:00Z", config: object = None, boot_id: str = "",
        **more: object,
    ) -> str:  # fmt: skip
        chain = [layer] if layer else []
        while chain and self._below[chain[0]]:
            chain.insert(0, self._below[chain[0]])
        body = {
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": config if config is not None else {"Cmd": ["sh"], "Labels": {"kind": "test"}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{ident}" for ident in chain]},
            "history": [{"created": created, "created_by": ident[:4]} for ident in chain],
        } | more
        raw = json.dumps(body)
        ident = digest(raw)
        (self.root / "blobs/sha256" / ident).write_text(raw)
        manifest = f"manifest of {ident}"
        (self.root / "blobs/sha256" / digest(manifest)).write_text(manifest)
        record = {
            "version": 1,
            "id": f"sha256:{ident}",
            "manifest": f"sha256:{digest(manifest)}",
            "layers": [{"blob": f"sha256:{one}", "diff_id": f"sha256:{one}"} for one in chain],
            "stored_ns": 5,
            "boot_id": boot_id,
        }
        self.record(ident).write_text(json.dumps(record))
        return f"sha256:{ident}"

    def record(self, image: str) -> Path:
        return self.root / "records" / f"{image.removeprefix('sha256:')}.json"

    def has(self, layer: str) -> tuple[bool, bool]:
        """Tell whether a layer's blob and its directory are there."""
        return (self.root / "blobs/sha256" / layer).exists(), self.home(layer).exists()
