"""What a series and a study look like in MongoDB: what their instances say of them.

Their documents have the same parts as that of an instance (`instance_documents`); a study's
have those of its patient, too. Counts are added elsewhere (`derive`, `tally`).
"""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from hilum.core.instance import Attributes, Identity, Instance
from hilum.core.levels import Level
from hilum.core.text import fold
from hilum.index.document_fields import (
    kept_keywords,
    main_tags,
    order_key,
    plain_fields,
    search_fields,
)

#: Searched by words in the web page's list, beside the names.
TEXT_KEYWORDS: Final = ("PatientID", "AccessionNumber", "StudyDescription")
_REVISION_BITS: Final = 62


def entity_update(
    level: Level, instances: Iterable[Instance], arrived: Instance | None
) -> dict[str, Any]:
    """Return the update that adds to a study or a series what its instances say.

    Parameters
    ----------
    level
        STUDY or SERIES.
    instances
        Of that one entity, oldest first.
    arrived
        The first of them that has just come, if any has; then the entity is not stable
        (`hilum.index.stability`).

    Notes
    -----
    Only values are set, each under a path of its own: an object that leaves an attribute
    out, or empty, never blanks what an earlier one said. The last value wins.
    """
    keywords = kept_keywords(level)
    attributes: Attributes = {}
    main: dict[str, str] = {}
    received: list[datetime] = []
    identity: Identity | None = None
    source = ""
    for instance in instances:
        identity = instance.header.identity
        source = instance.origin.source
        received.append(instance.origin.received_at)
        attributes.update(
            (tag, element)
            for tag, element in instance.header.attributes.items()
            if tag in keywords and len(element) > 1
        )
        for keyword, text in main_tags(level, instance.header).items():
            main[keyword] = text or main.get(keyword, "")
    assert identity is not None
    fields = {
        **_entity_identity(level, identity),
        **plain_fields(level, attributes),
        "source": source,
        "revision": new_revision(),
    }
    fields.update((f"attributes.{tag}", element) for tag, element in attributes.items())
    fields.update((f"main.{keyword}", text) for keyword, text in main.items() if text)
    searched = search_fields(keywords, attributes)
    fields.update((f"search.{keyword}", found) for keyword, found in searched.items())
    if level is Level.STUDY:
        texts = {keyword: fields.get(keyword) for keyword in TEXT_KEYWORDS}
        fields.update((f"text.{key}", fold(str(text))) for key, text in texts.items() if text)
    inserted: dict[str, Any] = {}
    update = {
        "$set": fields,
        "$min": {"received_at": min(received)},
        # An empty string is less than any other: it is kept where nothing is known, and known
        # to be there.
        "$max": {
            "updated_at": max(received),
            **{f"main.{keyword}": "" for keyword, text in main.items() if not text},
        },
        "$setOnInsert": inserted,
    }
    if arrived is not None:
        fields["stable"] = False
        update["$currentDate"] = {"changed_at": True}
        # Whoever writes this one again after a crash finds that the entity began with it.
        inserted["begun_by"] = arrival(arrived)
    else:
        inserted.update(stable=True, stable_at=max(received), changed_at=max(received))
    if level is Level.SERIES and "SeriesNumber" not in fields:
        # So that a series without a number has a place too; a number that comes moves it.
        inserted["order"] = order_key(None, identity.series_instance_uid)
    elif level is Level.SERIES:
        fields["order"] = order_key(fields["SeriesNumber"], identity.series_instance_uid)
    if not inserted:
        del update["$setOnInsert"]
    return update


def arrival(instance: Instance) -> str:
    """Return what names one arrival of an instance: another one of the same has another name."""
    received_at = instance.origin.received_at.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{instance.header.identity.instance} {received_at}"


def new_revision() -> int:
    """Return a number of no order, and never the same twice.

    Whoever finds it in an entity knows that his update was the last.
    """
    return secrets.randbits(_REVISION_BITS)


def _entity_identity(level: Level, identity: Identity) -> dict[str, Any]:
    fields = {
        "patient": identity.patient,
        "PatientID": identity.patient_id,
        "StudyInstanceUID": identity.study_instance_uid,
    }
    if level is Level.SERIES:
        fields["study"] = identity.study
        fields["SeriesInstanceUID"] = identity.series_instance_uid
    return fields
