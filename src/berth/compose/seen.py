"""What a look at the engine gives, as plain records. Pure: `observe` does the looking."""

from typing import Any, Final, NamedTuple

from berth.compose import labels

Json = dict[str, Any]

#: States in which a process is there.
ALIVE: Final = frozenset({"running", "paused", "restarting"})


class Container(NamedTuple):
    """A container that belongs to a project."""

    id: str
    name: str
    service: str
    number: int
    oneoff: bool
    state: str
    image_id: str
    labels: dict[str, str]
    #: The summary as the engine lists it.
    summary: Json

    @property
    def alive(self) -> bool:
        """Whether it has a process."""
        return self.state in ALIVE

    @property
    def networks(self) -> Json:
        """The endpoints by network name."""
        return (self.summary.get("NetworkSettings") or {}).get("Networks") or {}

    @property
    def mounts(self) -> list[Json]:
        """The mount points."""
        return self.summary.get("Mounts") or []


class Observed(NamedTuple):
    """All there is of a project; networks and volumes by real name, foreign ones of a wanted name included."""

    containers: tuple[Container, ...]
    networks: dict[str, Json]
    volumes: dict[str, Json]
    #: Images by the reference the files give; None where the engine has none.
    images: dict[str, Json | None]


def container_from(summary: Json) -> Container:
    """Make a record of an entry of the container list."""
    marks = summary.get("Labels") or {}
    names = [name.lstrip("/") for name in summary.get("Names") or ()]
    # Legacy links add names with a second slash; the container's own has none.
    own = next((name for name in names if "/" not in name), names[0] if names else summary["Id"][:12])
    number = marks.get(labels.NUMBER, "")
    return Container(
        id=summary["Id"],
        name=own,
        service=marks.get(labels.SERVICE, ""),
        number=int(number) if number.isdecimal() else 0,
        oneoff=marks.get(labels.ONEOFF) == "True",
        state=summary.get("State", ""),
        image_id=summary.get("ImageID", ""),
        labels=marks,
        summary=summary,
    )
