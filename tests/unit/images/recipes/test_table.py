"""The recipes hang together."""

from pathlib import Path

import pytest

from berth.images.recipes import busybox, table
from berth.images.recipes.service import labels


@pytest.mark.parametrize("name", [name for name in table.NAMES if name not in {"busybox", "debian"}])
def test_entry_points_are_shipped(name: str) -> None:
    recipe = table.recipe(name)
    assert recipe.packages
    entrypoint = recipe.config.get("Entrypoint")
    if entrypoint:
        assert any(
            path.endswith(Path(entrypoint[0]).name) and mode == 0o755 for path, (_, mode) in recipe.files.items()
        )
    for path, (text, _) in recipe.files.items():
        assert not path.startswith("/")
        assert bool(text) is not path.endswith("/")
    for item in recipe.config["Env"]:
        assert "=" in item


def test_what_clients_rely_on() -> None:
    nginx, postgres = table.recipe("nginx").config, table.recipe("postgres").config
    assert (nginx["StopSignal"], list(nginx["ExposedPorts"])) == ("SIGQUIT", ["80/tcp"])
    assert postgres["StopSignal"] == "SIGINT"
    assert list(postgres["Volumes"]) == ["/var/lib/postgresql/data"]
    assert "PGDATA=/var/lib/postgresql/data" in postgres["Env"]


def test_such_images_say_what_they_are() -> None:
    said = labels("nginx")
    assert said["io.berth.bootstrap"] == "true"
    assert said["io.berth.recipe"] == "nginx"
    assert "not the well-known image" in said["org.opencontainers.image.description"]


def test_busybox_links_its_applets(tmp_path: Path) -> None:
    program = tmp_path / "busybox"
    program.write_bytes(b"#!/bin/sh\n")
    made = {entry.path: entry for entry in busybox.entries(program, ["bin/sh", "usr/bin/wget", "busybox", "env"])}
    assert made["bin/sh"].link == made["bin/wget"].link == "busybox"
    assert made["bin/busybox"].source == program
    assert made["tmp"].mode == 0o1777
    assert b"root:x:0:0" in (made["etc/passwd"].content or b"")
    parents = [entry.path.rpartition("/")[0] for entry in made.values()]
    assert all(parent == "" or parent in made for parent in parents)
    assert not busybox.is_static(program)
    assert not busybox.is_static(tmp_path / "none")
