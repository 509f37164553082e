"""Load a project: files → documents → include and extends → one merged document → the canonical model.

The order is that of the Compose reference: interpolate each document before merging, check it where its positions are
still
exact, merge, then complete the whole. What completes and checks the whole is in `complete`.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from berth.compose import complete, parsed, schema
from berth.compose.discovery import Place, normal_name, read_env_file, read_text
from berth.compose.errors import BadProject, BadUsage, Fault, Mark, NoComposeFile, fault
from berth.compose.interpolate import BadTemplate, interpolate, substitute
from berth.compose.language import DOCUMENT
from berth.compose.merge import clean, merge
from berth.compose.model import Project
from berth.compose.values import Map, Override, Reset, Seq, Value

Warn = Callable[[str], None]

#: Where standard input is read from; handed in by the caller of `load_project`.
Stdin = Callable[[], str]


class _Loader:
    """Loads the files of one model; an include makes a loader of its own."""

    def __init__(
        self,
        directory: str,
        shown_from: str,
        variables: Mapping[str, str],
        warn: Warn,
        stdin: Stdin,
        *,
        templates: bool,
        cache: str | None,
    ) -> None:
        self.directory, self.shown_from, self.variables, self.warn, self.stdin = (
            directory,
            shown_from,
            variables,
            warn,
            stdin,
        )
        self.templates, self.cache = templates, cache
        self.warned: set[str] = set()
        self.raw: dict[str, list[Map]] = {}
        self.checked: dict[str, list[Map]] = {}
        self.origins: dict[str, Mapping[str, str]] = {}
        self.merged = Map()

    def unset(self, name: str) -> None:
        if name not in self.warned:
            self.warned.add(name)
            self.warn(f'The "{name}" variable is not set. Defaulting to a blank string.')

    def shown(self, path: str) -> str:
        if path == "-":
            return "stdin"
        relative = os.path.relpath(path, self.shown_from)
        return path if relative.startswith("../..") else relative

    def read(self, path: str) -> list[Map]:
        """Read the documents of a file as they stand."""
        shown = self.shown(path)
        try:
            text = self.stdin() if path == "-" else read_text(path)
        except FileNotFoundError:
            raise NoComposeFile(f"open {path}: no such file or directory") from None
        except (OSError, UnicodeDecodeError) as error:
            raise fault(f"cannot read {shown}: {error}") from None
        found = parsed.recall(self.cache, text, shown)
        if found is None:
            from berth.compose.load import parse

            found = parse(text, shown)
            parsed.keep(self.cache, text, found)
        if not found:
            raise fault("empty compose file", (), Mark(shown, 1, 1))
        return found

    def top_level_name(self, paths: Iterable[str]) -> str | None:
        """Return the name the files give the project; what is read here is not read again."""
        name = None
        for path in paths:
            self.raw[path] = self.read(path)
            for document in self.raw[path]:
                text = document.get("name")
                if isinstance(text, str):
                    try:
                        name = normal_name(substitute(text, self.variables.get, self.unset)) or name
                    except BadTemplate as error:
                        raise fault(str(error), ("name",), document.marks.get("name")) from None
        return name

    def documents(self, path: str, base: str) -> list[Map]:
        """Interpolate and check the documents of a file; its relative paths count from `base`."""
        key = f"{path}\0{base}"
        if key in self.checked:
            return self.checked[key]
        shown = self.shown(path)
        documents = self.raw.pop(path, None) or self.read(path)
        checked: list[Map] = []
        faults: list[Fault] = []
        for document in documents:
            if not self.templates:
                try:
                    interpolate(document, self.variables, self.unset)
                except BadProject as error:
                    faults.extend(error.faults)
                    continue
            context = schema.Context(lambda name: self.resolve(name, base), templates=self.templates)
            result = DOCUMENT.check(document, (), Mark(shown, 1, 1), context)
            faults.extend(context.faults)
            for warning in context.warnings:
                self.warn(warning)
            if isinstance(result, Map):
                checked.append(result)
        if faults:
            raise BadProject(faults)
        self.checked[key] = checked
        return checked

    def resolve(self, name: str, base: str) -> str:
        """Make a host path absolute."""
        if name == "~" or name.startswith("~/"):
            name = self.variables.get("HOME", os.path.expanduser("~")) + name[1:]
        return os.path.normpath(os.path.join(base, name))

    def add(self, path: str, chain: tuple[str, ...]) -> None:
        """Lay a file over what was loaded before."""
        for document in self.documents(path, self.directory):
            if "version" in document:
                self.warn(
                    f"{self.shown(path)}: the attribute `version` is obsolete, it will be ignored,"
                    " please remove it to avoid potential confusion"
                )
            included = document.get("include")
            if isinstance(included, Seq):
                for index, entry in enumerate(included):
                    self.include(entry, chain, included.marks[index])
            services = document.get("services")
            if isinstance(services, Map):
                extended = Map()
                for name, service in services.items():
                    extended.put(name, self.extend(name, service, document, path, ()), services.marks.get(name))
                self.merged = merge(self.merged, _with(document, "services", extended))
            else:
                self.merged = merge(self.merged, document)

    def extend(self, name: str, service: Value, document: Map, path: str, chain: tuple[str, ...]) -> Value:
        """Lay a service over the one it extends, and that over the one it extends."""
        if not isinstance(service, Map) or not isinstance(service.get("extends"), Map):
            return service
        extends = service["extends"]
        mark = service.marks.get("extends")
        place = ("services", name, "extends")
        link = f"{name} in {self.shown(path)}"
        if link in chain:
            raise fault("circular reference: " + " -> ".join([*chain[chain.index(link) :], link]), place, mark)
        target, other = extends["service"], path
        source = document
        if "file" in extends:
            here = self.directory if path == "-" else os.path.dirname(path)
            other = self.resolve(extends["file"], self.directory if not chain else here)
            if not os.path.isfile(other):
                raise fault(f"cannot read {extends['file']}: no such file", place, mark)
            source = self.one(other)
        found = (source.get("services") or {}).get(target)
        if found is None and source is document:
            found = (self.merged.get("services") or {}).get(target)
        if found is None:
            raise fault(
                f'cannot extend service "{name}" in {self.shown(path)}: '
                f'service "{target}" not found in {self.shown(other)}',
                place,
                mark,
            )
        base = clean(self.extend(target, found, source, other, (*chain, link)), ("services", "*"))
        local = Map()
        for key, value in service.items():
            if key != "extends":
                local.put(key, value, service.marks.get(key))
        result = _merge_keeping_markers(base, local)
        result.pop("extends", None)
        return result

    def one(self, path: str) -> Map:
        """Load a file for `extends`: all its documents as one, paths counting from its own directory."""
        merged = Map()
        for document in self.documents(path, os.path.dirname(path)):
            merged = merge(merged, document)
        return merged

    def include(self, entry: Map, chain: tuple[str, ...], mark: Mark | None) -> None:
        """Load other files as a model of their own and copy it in."""
        paths = [self.resolve(name, self.directory) for name in entry["path"]]
        for path in paths:
            if path in chain:
                shown = " -> ".join(self.shown(step) for step in [*chain[chain.index(path) :], path])
                raise fault(f"include cycle detected: {shown}", ("include",), mark)
            if not os.path.isfile(path):
                raise fault(f"cannot read {self.shown(path)}: no such file", ("include",), mark)
        own = entry.get("project_directory")
        directory = self.resolve(own, self.directory) if own else os.path.dirname(paths[0])
        env_files = [self.resolve(name, self.directory) for name in entry.get("env_file") or ()]
        if not env_files and os.path.isfile(os.path.join(directory, ".env")):
            env_files = [os.path.join(directory, ".env")]
        variables = dict(self.variables)
        added: dict[str, str] = {}
        for path in env_files:
            added.update(read_env_file(path, lambda name: self.variables.get(name, added.get(name))))
        for key, value in added.items():
            variables.setdefault(key, value)
        inner = _Loader(
            directory, self.shown_from, variables, self.warn, self.stdin, templates=self.templates, cache=self.cache
        )
        for path in paths:
            inner.add(path, (*chain, *paths))
        inner.merged.pop("include", None)
        inner.merged.pop("name", None)
        for name in inner.merged.get("services") or ():
            self.origins.setdefault(name, inner.origins.get(name, variables))
        self.merged = merge(inner.merged, self.merged)


def _with(document: Map, key: str, value: Value) -> Map:
    """Return a copy of `document` with one key replaced."""
    result = Map()
    result.update(document)
    result.marks.update(document.marks)
    result[key] = value
    return result


def _merge_keeping_markers(base: Value, local: Map) -> Map:
    """Lay the extending service over its base; `!reset` and `!override` of the extending one take effect here."""
    merged = merge(base, local, ("services", "*"))
    assert isinstance(merged, Map)
    for key, value in local.items():
        # They also hold against earlier files, so they stay marked for the merge to come.
        if isinstance(value, Reset):
            merged.put(key, value, local.marks.get(key))
        elif isinstance(value, Override):
            merged.put(key, Override(merged[key]), local.marks.get(key))
    return merged


class Loaded(NamedTuple):
    """All files of a project as one document, its name, and the variables of services that came by an include."""

    document: Map
    name: str
    origins: dict[str, Mapping[str, str]]


def load_document(place: Place, warn: Warn, stdin: Stdin, *, templates: bool = False) -> Loaded:
    """Load and merge all files of a project into one document in canonical form."""
    first = place.directory if place.files[0] == "-" else os.path.dirname(place.files[0])
    variables = dict(place.variables)
    loader = _Loader(place.directory, first, variables, warn, stdin, templates=templates, cache=place.cache)
    name = place.name or loader.top_level_name(place.files) or normal_name(os.path.basename(place.directory))
    if not name:
        raise BadUsage("project name must not be empty: give one with -p or by a top-level name")
    # Known to templates from here on, whoever said it.
    variables["COMPOSE_PROJECT_NAME"] = name
    for path in place.files:
        loader.add(path, tuple(name for name in place.files if name != "-"))
    loader.merged.pop("include", None)
    document = clean(loader.merged)
    assert isinstance(document, Map)
    return Loaded(document, name, loader.origins)


def load_project(
    place: Place, warn: Warn, stdin: Stdin, *, selected: tuple[str, ...] = (), resolve_environment: bool = True
) -> Project:
    """Load a project; `selected` services have their profiles switched on."""
    loaded = load_document(place, warn, stdin)
    variables = {**place.variables, "COMPOSE_PROJECT_NAME": loaded.name}
    return complete.complete(
        loaded.document,
        place._replace(variables=variables, name=loaded.name),
        selected=selected,
        origins=loaded.origins,
        warn=warn,
        resolve_environment=resolve_environment,
    )
