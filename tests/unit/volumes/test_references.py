"""Who uses what follows from the mount points alone."""

from berth.volumes.mounts.parse import parse_bind
from berth.volumes.references import holders


def test_every_holder_once() -> None:
    a, b, host = (parse_bind(raw).point for raw in ("va:/a", "va:/b", "/h:/h"))
    assert holders([("1", (a, b, host)), ("2", (a,)), ("3", ())]) == {"va": ("1", "2")}
