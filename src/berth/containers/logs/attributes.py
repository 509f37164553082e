"""What ``--log-opt labels=, env= and tag=`` add to the lines of a log, shown by ``logs --details``. Pure.

Nothing of it is written into the log: the container's record says it all.
"""

import re
from collections.abc import Iterator
from urllib.parse import quote_plus

from berth.containers.model import ContainerRecord

_FIELD = re.compile(r"\{\{-?\s*\.(\w+)\s*-?\}\}")


def details(record: ContainerRecord) -> bytes:
    """Return the pairs that stand before each line, ``a=b,tag=x`` in order of their keys; often none."""
    log = record.host_config.log_config
    chosen = log.config or {}
    if log.type == "local":
        return b""
    found = dict(_chosen(record.config.labels or {}, chosen, "labels"))
    environment = dict(entry.partition("=")[::2] for entry in record.config.env or () if "=" in entry)
    found |= dict(_chosen(environment, chosen, "env"))
    if tag := chosen.get("tag", ""):
        found["tag"] = _tag(record, tag)
    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(found.items())).encode()


def _chosen(values: dict[str, str], options: dict[str, str], option: str) -> Iterator[tuple[str, str]]:
    names = {name.strip() for name in options.get(option, "").split(",")}
    text = options.get(f"{option}-regex", "")
    expression = re.compile(text) if text else None
    for key, value in values.items():
        if key in names or (expression is not None and expression.search(key)):
            yield key, value


def _tag(record: ContainerRecord, template: str) -> str:
    image = record.image_id.removeprefix("sha256:")
    fields = {
        "ID": record.short_id,
        "FullID": record.id,
        "Name": record.name.lstrip("/"),
        "ImageID": image[:12],
        "ImageFullID": record.image_id,
        "ImageName": record.config.image,
        "DaemonName": "docker",
    }
    return _FIELD.sub(lambda found: fields.get(found[1], found[0]), template)
