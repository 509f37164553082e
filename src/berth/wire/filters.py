"""Docker's ``filters`` parameter: JSON of name → values, in its new form (lists) and old form (maps). Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import msgspec

from berth.base.errors import InvalidArgument


class InvalidFilter(InvalidArgument):
    """A filter is unknown here or has a bad value."""

    def __init__(self, name: str, value: str | None = None) -> None:
        super().__init__(f"invalid filter '{name}'" if value is None else f"invalid filter '{name}={value}'")


@dataclass(frozen=True)
class Filters:
    """Filters as parsed: every name with its values, order kept."""

    terms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.terms

    def get(self, name: str) -> tuple[str, ...]:
        """Return the values of one filter; none if it was not given."""
        return self.terms.get(name, ())

    def only(self, known: Collection[str]) -> "Filters":
        """Return itself if every name is `known`; raises `InvalidFilter`."""
        for name in self.terms:
            if name not in known:
                raise InvalidFilter(name)
        return self

    def boolean(self, name: str, *, default: bool) -> bool:
        """Read a filter that is true or false (also 1 and 0); raises `InvalidFilter`."""
        values = self.get(name)
        if not values:
            return default
        verdicts = {_BOOLEANS.get(value.lower()) for value in values}
        if len(verdicts) != 1 or None in verdicts:
            raise InvalidFilter(name, ",".join(values))
        return verdicts == {True}

    def exact(self, name: str, value: str) -> bool:
        """Tell whether `value` is among the filter's values, or the filter is absent."""
        values = self.get(name)
        return not values or value in values

    def prefix(self, name: str, value: str) -> bool:
        """Tell whether `value` starts with one of the filter's values, or the filter is absent."""
        values = self.get(name)
        return not values or any(value.startswith(want) for want in values)

    def labels(self, have: Mapping[str, str], name: str = "label") -> bool:
        """Tell whether every ``key`` or ``key=value`` wanted is among the labels."""
        return all(_has_label(have, want) for want in self.get(name))

    def without_labels(self, have: Mapping[str, str]) -> bool:
        """Tell whether none of the ``label!`` values is among the labels."""
        return not any(_has_label(have, want) for want in self.get("label!"))


_BOOLEANS = {"1": True, "true": True, "t": True, "0": False, "false": False, "f": False}


def _has_label(have: Mapping[str, str], want: str) -> bool:
    key, equals, value = want.partition("=")
    return key in have and (not equals or have[key] == value)


def parse_filters(text: str) -> Filters:
    """Parse the query parameter; empty text means no filter. Raises `InvalidArgument`."""
    if not text:
        return Filters()
    try:
        new = msgspec.json.decode(text, type=dict[str, list[str]])
        return Filters({name: tuple(values) for name, values in new.items()})
    except msgspec.ValidationError:
        pass  # perhaps the old form, map of maps
    except (msgspec.DecodeError, RecursionError):
        raise InvalidArgument("invalid filter: not JSON") from None
    try:
        old = msgspec.json.decode(text, type=dict[str, dict[str, bool]])
    except msgspec.DecodeError:
        raise InvalidArgument("invalid filter: neither a map of lists nor a map of maps") from None
    return Filters({name: tuple(value for value, on in values.items() if on) for name, values in old.items()})
