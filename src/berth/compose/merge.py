"""Lay one document over another. Pure; both are in canonical form, so there is only one shape per key.

Mappings merge, lists append, scalars replace, null changes nothing. The exceptions are the three tables below.
"""

from collections.abc import Callable, Hashable
from typing import Final

from berth.compose.values import Map, Override, Reset, Seq, Value

#: Where a later value replaces the earlier one whole. `*` stands for any one key.
REPLACED: Final = frozenset(
    {
        ("services", "*", "command"),
        ("services", "*", "entrypoint"),
        ("services", "*", "healthcheck", "test"),
        ("services", "*", "ulimits", "*"),
        ("services", "*", "gpus"),
        ("services", "*", "build", "ssh"),
    }
)


def _by_target(item: Value) -> Hashable:
    return item.get("target") if isinstance(item, Map) else item


def _by_port(item: Value) -> Hashable:
    if not isinstance(item, Map):
        return str(item)
    return (item.get("host_ip"), item.get("published"), item.get("target"), item.get("protocol"))


def _by_path(item: Value) -> Hashable:
    return item.get("path") if isinstance(item, Map) else item


def _by_subnet(item: Value) -> Hashable:
    return item.get("subnet") if isinstance(item, Map) else item


def _by_secret_target(item: Value) -> Hashable:
    if not isinstance(item, Map):
        return str(item)
    target = item.get("target") or item.get("source")
    return target if str(target).startswith("/") else f"/run/secrets/{target}"


def _by_config_target(item: Value) -> Hashable:
    if not isinstance(item, Map):
        return str(item)
    return item.get("target") or f"/{item.get('source')}"


def _by_value(item: Value) -> Hashable:
    return str(item)


#: Where a later list item takes the place of an earlier one that has the same key.
UNIQUE: Final[dict[tuple[str, ...], Callable[[Value], Hashable]]] = {
    ("services", "*", "volumes"): _by_target,
    ("services", "*", "devices"): _by_target,
    ("services", "*", "ports"): _by_port,
    ("services", "*", "secrets"): _by_secret_target,
    ("services", "*", "configs"): _by_config_target,
    ("services", "*", "env_file"): _by_path,
    ("services", "*", "build", "tags"): _by_value,
    ("services", "*", "networks", "*", "aliases"): _by_value,
    ("services", "*", "networks", "*", "link_local_ips"): _by_value,
    **{
        ("services", "*", key): _by_value
        for key in (
            "expose", "cap_add", "cap_drop", "profiles", "tmpfs", "dns", "dns_opt", "dns_search", "links",
            "external_links",
            "label_file", "extra_hosts", "group_add", "security_opt", "volumes_from", "device_cgroup_rules",
        )
    },
}  # fmt: skip

#: Lists of mappings in which items with the same key merge.
MERGED_BY: Final[dict[tuple[str, ...], Callable[[Value], Hashable]]] = {("networks", "*", "ipam", "config"): _by_subnet}

_FREE: Final = frozenset({"services", "networks", "volumes", "secrets", "configs", "ulimits"})


def _deeper(path: tuple[str, ...], key: str) -> tuple[str, ...]:
    return (*path, "*") if path and path[-1] in _FREE else (*path, key)


def merge(base: Value, over: Value, path: tuple[str, ...] = ()) -> Value:
    """Return `over` laid over `base`; neither is changed. `path` is the place in the document, `*` for free names."""
    if over is None:
        return base
    if isinstance(over, Override):
        return clean(over.value, path)
    if path in REPLACED or base is None:
        return clean(over, path)
    if isinstance(base, Map) and isinstance(over, Map):
        return _merge_maps(base, over, path)
    if isinstance(base, Seq) and isinstance(over, Seq):
        return _merge_lists(base, over, path)
    return clean(over, path)


def _merge_maps(base: Map, over: Map, path: tuple[str, ...]) -> Map:
    if (
        path == ("services", "*", "logging")
        and {base.get("driver"), over.get("driver")} - {None, base.get("driver")}
        and base.get("driver")
    ):
        replaced = clean(over, path)
        assert isinstance(replaced, Map)
        return replaced
    result = Map()
    result.update(base)
    result.marks.update(base.marks)
    for key, value in over.items():
        if isinstance(value, Reset):
            result.pop(key, None)
            continue
        result.put(key, merge(base.get(key), value, _deeper(path, key)), over.marks.get(key))
        if key not in base and value is None:
            result[key] = None
    return result


def _merge_lists(base: Seq, over: Seq, path: tuple[str, ...]) -> Seq:
    joined = Seq()
    for part in (base, over):
        for item, mark in zip(part, part.marks, strict=True):
            joined.add(item, mark)
    return unique(joined, path)


def unique(items: Seq, path: tuple[str, ...]) -> Seq:
    """Keep the last item of each key, at the place of the first."""
    by = UNIQUE.get(path) or MERGED_BY.get(path)
    if by is None:
        return items
    places: dict[Hashable, int] = {}
    result = Seq()
    for item, mark in zip(items, items.marks, strict=True):
        key = by(item)
        if key in places and path in MERGED_BY:
            result[places[key]] = merge(result[places[key]], item)
        elif key in places:
            result[places[key]] = item
            result.marks[places[key]] = mark
        else:
            places[key] = len(result)
            result.add(item, mark)
    return result


def clean(value: Value, path: tuple[str, ...] = ()) -> Value:
    """Return `value` without the markers of merging and without repetitions, as if laid over nothing."""
    if isinstance(value, Override):
        return clean(value.value, path)
    if isinstance(value, Map):
        result = Map()
        for key, item in value.items():
            if not isinstance(item, Reset):
                result.put(key, clean(item, _deeper(path, key)), value.marks.get(key))
        return result
    if isinstance(value, Seq):
        return unique(value, path)
    return value
