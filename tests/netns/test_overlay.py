"""Overlay mounts of images with many layers."""

import os
from pathlib import Path

import pytest

from berth.kernel import mount

pytestmark = pytest.mark.root


def test_more_layers_than_fit_a_page(tmp_path: Path) -> None:
    layers = []
    for number in range(120):
        layer = tmp_path / "layers" / f"{number:026d}"
        layer.mkdir(parents=True)
        (layer / f"file{number}").touch()
        (layer / "shared").write_text(str(number))
        layers.append(str(layer))
    upper, work, target = (tmp_path / name for name in ("upper", "work", "target"))
    for directory in (upper, work, target):
        directory.mkdir()
    before = os.getcwd()
    mount.overlay(tuple(layers), str(upper), str(work), str(target))
    try:
        assert len(list(target.iterdir())) == 121
        assert (target / "shared").read_text() == "0"
        assert os.getcwd() == before
    finally:
        assert mount.unmount(str(target))


def test_a_refused_mount_says_why(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    layers = tuple(f"{tmp_path}/layers/{number:060d}" for number in range(120))
    with pytest.raises(mount.MountFailed, match="target"):
        mount.overlay(layers, str(tmp_path / "u"), str(tmp_path / "w"), str(target))


def test_a_file_system_that_cannot_be_written_above_is_named(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "outer", "target"):
        (tmp_path / name).mkdir()
    lower, outer, target = (str(tmp_path / name) for name in ("lower", "outer", "target"))
    mount.overlay((lower,), str(tmp_path / "upper"), str(tmp_path / "work"), outer)
    try:
        for name in ("u", "w"):
            (tmp_path / "outer" / name).mkdir()
        with pytest.raises(
            mount.MountFailed, match=r"invalid argument: .*/outer/u lies on overlay, .* data-root on ext4"
        ):
            mount.overlay((lower,), f"{outer}/u", f"{outer}/w", target)
    finally:
        assert mount.unmount(outer)
