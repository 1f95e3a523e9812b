"""``OrderBy`` of ``/tools/find`` (Orthanc 1.12.5): what was found, in the order asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hilum.core.levels import Level
from hilum.http.orthanc.errors import BAD_REQUEST, UNKNOWN_TAG, Refusal
from hilum.http.orthanc.listing import AT_ONCE
from hilum.http.orthanc.metadata import metadata_of
from hilum.http.orthanc.own_names import OwnNames
from hilum.http.orthanc.tag_names import keyword_named
from hilum.index.attached import Attached
from hilum.index.resources import Resources

_TAG, _METADATA = "DicomTag", "Metadata"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


#: How a value is compared, by the end of its type's name.
_READ: Final[dict[str, Callable[[str], Any]]] = {"": str, "AsInt": _whole, "AsFloat": _number}
_TYPES: Final = {
    kind + end: (kind, read) for kind in (_TAG, _METADATA) for end, read in _READ.items()
}
_DIRECTIONS: Final = {"ASC": False, "DESC": True}
#: The order in which studies are found.
_NATURAL: Final = (("StudyDate",), ("StudyDate", "StudyTime"))


@dataclass(frozen=True, slots=True)
class Criterion:
    """One of the values that decide."""

    keyword: str
    """Of a tag; empty for metadata."""
    number: int
    """Of metadata."""
    read: Callable[[str], Any]
    descending: bool


def order_of(body: Mapping[str, Any], names: OwnNames) -> list[Criterion]:
    """Return what decides on the order, the most important first.

    Raises
    ------
    Refusal
        It makes no sense.
    """
    listed = body.get("OrderBy", [])
    if not isinstance(listed, list):
        raise Refusal(BAD_REQUEST, 'Field "OrderBy" must be an array')
    return [_criterion(each, names) for each in listed]


def is_natural(level: Level, order: Sequence[Criterion]) -> bool:
    """Return whether it is the order in which things are found anyway."""
    if level is not Level.STUDY or any(
        not each.descending or each.read is not str for each in order
    ):
        return not order
    return tuple(each.keyword for each in order) in _NATURAL


class Order:
    """Puts resources in order, in memory."""

    def __init__(self, resources: Resources, attached: Attached) -> None:
        self._resources = resources
        self._attached = attached

    async def of(self, level: Level, ids: Sequence[str], order: Sequence[Criterion]) -> list[str]:
        """Return those of the resources that are there, in order.

        What has no value comes last, whatever the direction. Where nothing decides, the order
        of `ids` stays.
        """
        values: dict[str, list[Any]] = {}
        for start in range(0, len(ids), AT_ONCE):
            values |= await self._values(level, ids[start : start + AT_ONCE], order)
        found = [each for each in ids if each in values]
        # The least important first: sorting keeps what equals in its order.
        for place, criterion in reversed(list(enumerate(order))):
            known = [each for each in found if values[each][place] is not None]
            unknown = [each for each in found if values[each][place] is None]
            known.sort(key=lambda each: values[each][place], reverse=criterion.descending)
            found = known + unknown
        return found

    async def _values(
        self, level: Level, ids: Sequence[str], order: Sequence[Criterion]
    ) -> dict[str, list[Any]]:
        resources = await self._resources.some(level, ids)
        keywords = [each.keyword for each in order if each.keyword]
        texts = await self._resources.texts(resources, keywords) if keywords else {}
        metadata = {}
        if any(not each.keyword for each in order):
            metadata = await metadata_of(self._attached, resources)

        def value(public_id: str, criterion: Criterion) -> Any:
            if criterion.keyword:
                text = texts.get(public_id, {}).get(criterion.keyword)
            else:
                entry = metadata[public_id].get(criterion.number)
                text = None if entry is None else entry.value.decode(errors="replace")
            return None if text is None else criterion.read(text)

        return {each.id: [value(each.id, criterion) for criterion in order] for each in resources}


def _criterion(item: Any, names: OwnNames) -> Criterion:
    if not isinstance(item, dict):
        raise Refusal(BAD_REQUEST, 'Items of "OrderBy" must be objects')
    kind, key, direction = (item.get(name) for name in ("Type", "Key", "Direction"))
    if kind not in _TYPES:
        raise Refusal(BAD_REQUEST, f'Field "Type" must be one of {", ".join(_TYPES)}')
    if direction not in _DIRECTIONS:
        raise Refusal(BAD_REQUEST, 'Field "Direction" must be "ASC" or "DESC"')
    if not isinstance(key, str):
        raise Refusal(BAD_REQUEST, 'Field "Key" must be a string')
    what, read = _TYPES[kind]
    if what == _METADATA:
        return Criterion("", names.number_of(key), read, _DIRECTIONS[direction])
    keyword = keyword_named(key)
    if not keyword:
        raise Refusal(UNKNOWN_TAG, f"{key[:64]} is no tag")
    return Criterion(keyword, 0, read, _DIRECTIONS[direction])
