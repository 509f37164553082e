"""A PostgreSQL under pgbench is copied while it writes: the copy starts, is whole, and has every acknowledged row.

Twenty rounds of it, with figures: ``python -m tests.soak.postgres``.
"""

from pathlib import Path

import pytest

from tests.support.engines import Berth
from tests.support.postgres import copied, loaded

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_copies_of_a_database_under_load_lose_no_acknowledged_row(berth_images: Berth, tmp_path: Path) -> None:
    engine = berth_images
    with loaded(engine, scale=1) as load:
        copied(load, "backup", "pause", "restored", tmp_path)
        done = copied(load, "clone", "freeze", "cloned", tmp_path)
    assert "; crash-consistent" in done.said
    for volume in ("restored", "cloned", "pg"):
        engine.berth("volume", "rm", volume)
    engine.berth("volume", "trash", "empty", "-f")
