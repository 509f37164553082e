"""Which of the machine's package sources belong to its distribution. Pure.

Images are made of the distribution's own packages only: repositories of others that the machine also uses stay out.
Forms: sources.list(5), one-line and deb822.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

#: Suites of a release that carry its updates.
_TAILS: Final = ("", "-updates", "-security")
#: Components that the distributions themselves name so.
_COMPONENTS: Final = ("main", "universe")
_LINE: Final = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)\Z")


@dataclass(frozen=True, slots=True)
class Source:
    """One source: where, which suites and components, who signs."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


def parse_list(text: str) -> list[Source]:
    """Parse the one-line form; lines for source packages are left out."""
    found = []
    for line in text.splitlines():
        match = _LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        options = dict(item.partition("=")[::2] for item in (match["options"] or "").split())
        signed = options.pop("signed-by", "")
        found.append(Source((match["uri"],), (match["suite"],), tuple(match["components"].split()), signed, options))
    return found


def parse_deb822(text: str) -> list[Source]:
    """Parse the paragraph form; disabled ones and those for source packages only are left out."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false"):
            continue
        found.append(
            Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by", ""),
                {"trusted": fields["trusted"]} if "trusted" in fields else {},
            )
        )
    return found


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and last:
            fields[last] += "\n" + line
        else:
            name, colon, value = line.partition(":")
            last = name.strip().lower() if colon else ""
            if last:
                fields[last] = value.strip()
    return fields


def of_distribution(sources: Iterable[Source], codename: str) -> list[Source]:
    """Return the sources of the release `codename`, cut to its own suites and components."""
    wanted = {codename + tail for tail in _TAILS} | {f"{codename}/updates"}
    kept = []
    for source in sources:
        suites = tuple(suite for suite in source.suites if suite in wanted)
        components = tuple(name for name in _COMPONENTS if name in source.components)
        if suites and "main" in components:
            kept.append(Source(source.uris, suites, components, source.signed_by, source.options))
    return kept


def render_deb822(sources: Iterable[Source]) -> str:
    """Write sources in the paragraph form."""
    paragraphs = []
    for source in sources:
        lines = [
            "Types: deb",
            f"URIs: {' '.join(source.uris)}",
            f"Suites: {' '.join(source.suites)}",
            f"Components: {' '.join(source.components)}",
        ]
        if source.signed_by:
            lines.append(f"Signed-By: {source.signed_by}")
        if source.options.get("trusted"):
            lines.append(f"Trusted: {source.options['trusted']}")
        paragraphs.append("\n".join(lines) + "\n")
    return "\n".join(paragraphs)
