"""An image store as skopeo leaves it, made by hand."""

import base64
import json
import os
from hashlib import sha256
from pathlib import Path


def digest(text: str) -> str:
    """Return a digest that `text` stands for."""
    return sha256(text.encode()).hexdigest()


class Shelf:
    """Writes a store below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._images: list[dict[str, object]] = []
        self._layers: list[dict[str, object]] = []
        for part in ("overlay-images", "overlay-layers", "overlay/l"):
            (root / part).mkdir(parents=True)

    def layer(self, name: str, parent: str = "", *, size: int = 100, flags: dict[str, bool] | None = None) -> str:
        ident = digest(name)
        row: dict[str, object] = {"id": ident, "diff-digest": f"sha256:{ident}", "diff-size": size}
        row |= {"parent": parent} if parent else {}
        row |= {"flags": flags} if flags else {}
        self._layers.append(row)
        home = self.root / "overlay" / ident
        (home / "diff").mkdir(parents=True)
        (home / "link").write_text(name.upper())
        (self.root / "overlay/l" / name.upper()).symlink_to(f"../{ident}/diff")
        self.save()
        return ident

    def image(self, layer: str, *, created: str = "2026-01-01T00:00:00Z", config: object = None, **more: object) -> str:
        chain = [layer] if layer else []
        parents = {row["id"]: row.get("parent") for row in self._layers}
        while chain and parents.get(chain[-1]):
            chain.append(str(parents[chain[-1]]))
        body = {
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": config if config is not None else {"Cmd": ["sh"], "Labels": {"kind": "test"}},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{ident}" for ident in reversed(chain)]},
            "history": [{"created": created, "created_by": ident[:4]} for ident in reversed(chain)],
        } | more
        raw = json.dumps(body)
        ident = digest(raw)
        home = self.root / "overlay-images" / ident
        home.mkdir()
        (home / ("=" + base64.b64encode(f"sha256:{ident}".encode()).decode())).write_text(raw)
        self._images.append({"id": ident, "layer": layer, "names": ["x"], "created": created})
        self.save()
        return f"sha256:{ident}"

    def drop(self, image: str) -> None:
        self._images = [row for row in self._images if row["id"] != image.removeprefix("sha256:")]
        self.save()

    def save(self) -> None:
        for part, name, rows in (
            ("overlay-images", "images.json", self._images),
            ("overlay-layers", "layers.json", self._layers),
        ):
            fresh = self.root / part / f"{name}.new"
            fresh.write_text(json.dumps(rows))
            os.replace(fresh, self.root / part / name)
