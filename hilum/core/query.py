"""What is asked of the index, whoever asks: C-FIND, C-MOVE, QIDO-RS or the web page.

A `Query` is plain data. `core.identifier_query` and `core.qido_query` read it out of
DICOM identifiers and URL parameters, `index.filters` turns it into database filters.
Values in conditions are in the form the index keeps them (`core.matching`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from hilum.core.instance import Attributes
from hilum.core.levels import LEVEL_OF, Level, json_tag, vr_of

Scalar: TypeAlias = str | int | float
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Model(Enum):
    """A Query/Retrieve information model (PS3.4 C.6)."""

    PATIENT_ROOT = "PATIENT_ROOT"
    STUDY_ROOT = "STUDY_ROOT"

    @property
    def top(self) -> Level:
        """The level the model starts at."""
        return Level.PATIENT if self is Model.PATIENT_ROOT else Level.STUDY


@dataclass(frozen=True, slots=True)
class Exact:
    """Single value matching (PS3.4 C.2.2.2.1): one of the values is this one."""

    value: Scalar


@dataclass(frozen=True, slots=True)
class Wildcard:
    """Wild card matching (PS3.4 C.2.2.2.4): ``*`` any characters, ``?`` exactly one."""

    pattern: str
    any_case: bool = False
    """Whether letters match in capitals and small alike."""


@dataclass(frozen=True, slots=True)
class Range:
    """Range matching on DA, TM, DT (PS3.4 C.2.2.2.5), both ends included; None is open."""

    first: str | None
    last: str | None


@dataclass(frozen=True, slots=True)
class PersonName:
    """A name by its component groups (PS3.4 C.2.2.2.1, PS3.5 6.2.1).

    One group is looked for in every group of the stored name; of several, each that is
    not empty must match the group in its own place.
    """

    groups: tuple[str, ...]
    """Folded (`core.text`), without trailing ``^``, wildcards as they came."""
    fuzzy: bool = False
    """Each word begins some word of the name, in any order (PS3.18 8.3.4.2)."""


@dataclass(frozen=True, slots=True)
class AnyOf:
    """List of UID matching (PS3.4 C.2.2.2.2), and several values of any other key."""

    alternatives: "tuple[Exact | Wildcard | Range | PersonName, ...]"


@dataclass(frozen=True, slots=True)
class Items:
    """Sequence matching (PS3.4 C.2.2.2.6): one item meets all the conditions."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class MomentRange:
    """Combined date and time matching (PS3.4 C.2.2.2.5): the keyword's date with a time."""

    time_keyword: str
    date: Range
    time: Range


Matching: TypeAlias = Exact | Wildcard | Range | PersonName | AnyOf | Items | MomentRange


@dataclass(frozen=True, slots=True)
class Condition:
    """A key that is not universal."""

    keyword: str
    matching: Matching


@dataclass(frozen=True, slots=True)
class Query:
    """Which entities of one level are wanted, and what of them."""

    level: Level
    conditions: tuple[Condition, ...] = ()
    requested: tuple[str, ...] = ()
    """Keywords to return, all of this level or above it."""
    requested_items: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """For a sequence among `requested`: keywords wanted of its items; absent means all."""
    where_known: frozenset[str] = frozenset()
    """Those of `requested` that an answer leaves out where there is no value."""
    unsupported: tuple[str, ...] = ()
    """Keys asked for that this node neither matches nor returns here (FF01)."""
    limit: int | None = None
    offset: int = 0
    text: str | None = None
    """Words to find in a study's name, ID, accession number or description."""

    def select(self, attributes: Attributes) -> Attributes:
        """Return what was requested out of `attributes`, in order of tags.

        A requested key that the entity has no value for is there without one (PS3.4
        C.2.2.1), unless it is `where_known`; a key not asked for is not.
        """
        return self.selector(attributes)(attributes)

    def selector(
        self, inherited: Attributes, constant: Mapping[str, dict[str, Any]] = _NOTHING
    ) -> Callable[[Attributes], Attributes]:
        """Return `select` for the entities in one that contains them all.

        Parameters
        ----------
        inherited
            Attributes of the levels above this query's; of a study those of its patient are
            its own.
        constant
            Elements that every answer has; they go before what would be selected.

        Returns
        -------
        callable
            From an entity's attributes of its own level to all that was requested. What is
            the same for all of them has been selected once.
        """
        shared = dict(constant)
        own = []
        levels = {self.level, Level.PATIENT} if self.level is Level.STUDY else {self.level}
        for keyword in self.requested:
            tag = json_tag(keyword)
            blank = None if keyword in self.where_known else {"vr": vr_of(keyword)}
            wanted = tuple(json_tag(each) for each in self.requested_items.get(keyword, ()))
            if tag in constant:
                continue
            if LEVEL_OF[keyword] in levels:
                own.append((tag, blank, wanted))
                shared[tag] = {}  # its place
            elif element := _chosen(inherited.get(tag), blank, wanted):
                shared[tag] = element
        shared = dict(sorted(shared.items()))

        def select(attributes: Attributes) -> Attributes:
            selected = shared.copy()
            for tag, blank, wanted in own:
                if element := _chosen(attributes.get(tag), blank, wanted):
                    selected[tag] = element
                else:
                    del selected[tag]
            return selected

        return select


def _chosen(
    element: dict[str, Any] | None, blank: dict[str, Any] | None, wanted: tuple[str, ...]
) -> dict[str, Any] | None:
    """Return an element as it is answered: `blank` without a value, of items what is wanted."""
    if element is None or "Value" not in element:
        # Other ways to have a value: a URI of it, or its bytes in Base64 (PS3.18 F.2.2).
        return element if element is not None and len(element) > 1 else blank
    if not wanted:
        return element
    items = [{tag: item[tag] for tag in wanted if tag in item} for item in element["Value"]]
    return {**element, "Value": items}
