"""What a study, a series and an instance look like in MongoDB.

Each document has, side by side: plain fields under the standard's keywords, for back ends
and operators to read; `attributes`, the DICOM JSON of its level, ready to answer with;
`search`, the same values in the form they are matched in (`core.matching`); and the public
ids of what contains it. `order` is a string that sorts entities as people count them.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.errors import BSONError

from hilum.core.instance import Attributes, Blob, Header, Identity, Instance, Origin, PixelData
from hilum.core.levels import STORED_KEYWORDS, Level, json_tag
from hilum.core.main_tags import MAIN_DICOM_TAGS
from hilum.core.matching import search_values
from hilum.core.text import fold
from hilum.index.stored import StoredInstance

#: Keywords that a document has as plain fields beside its identifiers.
_PLAIN: Final[dict[Level, tuple[str, ...]]] = {
    Level.STUDY: (
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "StudyDescription",
        "AccessionNumber",
        "ReferringPhysicianName",
    ),
    Level.SERIES: (
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "ProtocolName",
        "Manufacturer",
        "StationName",
    ),
    # Some of levels above: the view of frames reads nothing but instances.
    Level.IMAGE: (
        "PatientName",
        "Modality",
        "SeriesNumber",
        "InstanceNumber",
        "Rows",
        "Columns",
        "PhotometricInterpretation",
        "WindowCenter",
        "WindowWidth",
    ),
}
#: Searched by words in the web page's list, beside the names.
TEXT_KEYWORDS: Final = ("PatientID", "AccessionNumber", "StudyDescription")
_ORDERED_BY: Final = {Level.SERIES: "SeriesNumber", Level.IMAGE: "InstanceNumber"}
#: Far above what any index attribute is meant to hold, far below MongoDB's 16 MB a document.
_LARGEST_ELEMENT_BYTES: Final = 256_000
_LARGEST_NUMBER: Final = 2**31
_REVISION_BITS: Final = 62


@cache
def _keywords(level: Level) -> dict[str, str]:
    """Return by tag what the document of a level keeps; a study has its patient's too."""
    keywords = STORED_KEYWORDS[level]
    if level is Level.STUDY:
        keywords = (*STORED_KEYWORDS[Level.PATIENT], *keywords)
    return {json_tag(keyword): keyword for keyword in keywords}


def instance_document(instance: Instance) -> dict[str, Any]:
    """Return the document of an instance, all but the versions it has replaced."""
    header = instance.header
    identity = header.identity
    attributes = {
        tag: element for tag, element in header.attributes.items() if tag in _IMAGE_KEYWORDS
    }
    plain = _plain_fields(Level.IMAGE, header.attributes)
    return {
        "_id": identity.instance,
        "series": identity.series,
        "study": identity.study,
        "patient": identity.patient,
        "PatientID": identity.patient_id,
        **_hashed(identity),
        "StudyInstanceUID": identity.study_instance_uid,
        "SeriesInstanceUID": identity.series_instance_uid,
        "SOPInstanceUID": identity.sop_instance_uid,
        "SOPClassUID": header.sop_class_uid,
        "TransferSyntaxUID": header.transfer_syntax_uid,
        **plain,
        "order": order_key(plain.get("InstanceNumber"), identity.sop_instance_uid),
        "frames": frame_count(header),
        "blob": blob_document(instance.blob),
        "data_set_offset": header.data_set_offset,
        "pixels": _pixels_document(header.pixel_data),
        **origin_fields(instance.origin),
        "attributes": attributes,
        "main": _main_tags(Level.IMAGE, header),
        "search": _search_fields(_IMAGE_KEYWORDS, attributes),
    }


def origin_fields(origin: Origin) -> dict[str, Any]:
    """Return how a document says where a version came from; `origin_of` reads it."""
    fields: dict[str, Any] = {"received_at": origin.received_at, "source": origin.source}
    if origin.remote_address:
        fields["remote_address"] = origin.remote_address
    if origin.called_ae_title:
        fields["called_ae_title"] = origin.called_ae_title
    return fields


def origin_of(document: dict[str, Any]) -> Origin:
    """Return where the current version of an instance came from."""
    return Origin(
        document["source"],
        document["received_at"],
        document.get("remote_address", ""),
        document.get("called_ae_title", ""),
    )


#: What `origin_of` needs of a document.
ORIGIN_FIELDS: Final = {"received_at": 1, "source": 1, "remote_address": 1, "called_ae_title": 1}


def _hashed(identity: Identity) -> dict[str, str]:
    """Return what the public ids are made of, where `PatientID` does not say it."""
    if identity.hashed_patient_id is None:
        return {}
    return {"hashed_patient_id": identity.hashed_patient_id}


def frame_count(header: Header) -> int:
    """Return how many frames an instance has; none without pixel data."""
    return header.pixel_data.frame_count if header.pixel_data else 0


def representable(instance: Instance) -> Instance:
    """Return `instance` without the attributes that MongoDB cannot keep.

    What identifies it and where its pixels are stays: it can still be found and fetched.
    """
    attributes = {
        tag: element for tag, element in instance.header.attributes.items() if _can_be_kept(element)
    }
    main_tags = {
        keyword: text
        for keyword, text in instance.header.main_tags.items()
        if _can_be_kept({"": text})
    }
    header = replace(instance.header, attributes=attributes, main_tags=main_tags)
    return replace(instance, header=header)


def _can_be_kept(element: dict[str, Any]) -> bool:
    try:
        return len(bson.encode(element)) <= _LARGEST_ELEMENT_BYTES
    except (BSONError, OverflowError, UnicodeEncodeError):
        return False


def blob_document(blob: Blob) -> dict[str, Any]:
    """Return how a document names the bytes of a file."""
    return {"digest": blob.digest, "size": blob.size_bytes}


def version_document(instance: Instance) -> dict[str, Any]:
    """Return how an instance's document names a version that is not the current one."""
    return {
        **blob_document(instance.blob),
        "received_at": instance.origin.received_at,
        "source": instance.origin.source,
    }


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
    keywords = _keywords(level)
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
        for keyword, text in _main_tags(level, instance.header).items():
            main[keyword] = text or main.get(keyword, "")
    assert identity is not None
    fields = {
        **_entity_identity(level, identity),
        **_plain_fields(level, attributes),
        "source": source,
        # Of no order, and never the same twice: whoever finds it knows whose update was last.
        "revision": secrets.randbits(_REVISION_BITS),
    }
    fields.update((f"attributes.{tag}", element) for tag, element in attributes.items())
    fields.update((f"main.{keyword}", text) for keyword, text in main.items() if text)
    searched = _search_fields(keywords, attributes)
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


def _main_tags(level: Level, header: Header) -> dict[str, str]:
    """Return the main tags that the document of a level keeps; a study has its patient's too."""
    keywords = MAIN_DICOM_TAGS[level]
    if level is Level.STUDY:
        keywords = (*MAIN_DICOM_TAGS[Level.PATIENT], *keywords)
    found = header.main_tags
    return {keyword: found[keyword] for keyword in keywords if keyword in found}


def arrival(instance: Instance) -> str:
    """Return what names one arrival of an instance: another one of the same has another name."""
    received_at = instance.origin.received_at.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{instance.header.identity.instance} {received_at}"


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


def order_key(number: Any, uid: str) -> str:
    """Return a string that sorts by number, those without one last, then by UID.

    UIDs sort as people count: ``1.2.9`` comes before ``1.2.10``.
    """
    in_range = isinstance(number, int) and abs(number) < _LARGEST_NUMBER
    count = f"{number + _LARGEST_NUMBER:010d}" if in_range else "~"
    # The instances of a series most often differ behind the last dot only.
    root, dot, last = uid.rpartition(".")
    return f"{count} {_shared_key(root)}{dot}{_key(last)}"


def _key(uid: str) -> str:
    return re.sub(r"\d+", lambda digits: f"{len(digits[0]):02d}{digits[0]}", uid)


_shared_key = lru_cache(256)(_key)


def _search_fields(keywords: dict[str, str], attributes: Attributes) -> dict[str, list[Any]]:
    fields = {}
    for tag, element in attributes.items():
        keyword = keywords[tag]
        if found := search_values(keyword, element):
            fields[keyword] = found
    return fields


def _plain_fields(level: Level, attributes: Attributes) -> dict[str, Any]:
    fields = {keyword: _plain(keyword, attributes) for keyword in _PLAIN[level]}
    return {keyword: value for keyword, value in fields.items() if value is not None}


def _plain(keyword: str, attributes: Attributes) -> Any:
    """Return the first value of an attribute as a string or number, None without one."""
    element = attributes.get(json_tag(keyword))
    values = element.get("Value") if element else None
    if not element or not values or values[0] is None:
        return None
    value = values[0]
    if isinstance(value, dict):
        return value.get("Alphabetic") or value.get("Ideographic") or value.get("Phonetic")
    # A time of day is longer in the form it is searched in than anybody wants to read.
    if element.get("vr") in {"TM", "DT"}:
        return value
    found = search_values(keyword, {"Value": [value]})
    return found[0] if found else value


def _pixels_document(pixels: PixelData | None) -> dict[str, Any] | None:
    if pixels is None:
        return None
    return {
        "tag": pixels.tag,
        "offset": pixels.offset,
        "length": pixels.length,
        "frames": pixels.frame_count,
        "offsets": Binary(pixels.frame_offsets),
    }


#: What `stored_instance` needs of a document.
STORED_FIELDS: Final = {
    "PatientID": 1,
    "hashed_patient_id": 1,
    "StudyInstanceUID": 1,
    "SeriesInstanceUID": 1,
    "SOPInstanceUID": 1,
    "SOPClassUID": 1,
    "TransferSyntaxUID": 1,
    "blob": 1,
    "data_set_offset": 1,
    "pixels": 1,
    "frames": 1,
    "order": 1,
    "series": 1,
    "study": 1,
}


def stored_instance(document: dict[str, Any]) -> StoredInstance:
    """Return the instance that a document with `STORED_FIELDS` describes."""
    pixels = document["pixels"]
    return StoredInstance(
        identity=Identity(
            document["PatientID"],
            document["StudyInstanceUID"],
            document["SeriesInstanceUID"],
            document["SOPInstanceUID"],
            document.get("hashed_patient_id"),
        ),
        sop_class_uid=document["SOPClassUID"],
        transfer_syntax_uid=document["TransferSyntaxUID"],
        blob=Blob(document["blob"]["digest"], document["blob"]["size"]),
        data_set_offset=document["data_set_offset"],
        pixel_data=pixels
        and PixelData(
            tag=pixels["tag"],
            offset=pixels["offset"],
            length=pixels["length"],
            frame_count=pixels["frames"],
            frame_offsets=bytes(pixels["offsets"]),
        ),
    )


_IMAGE_KEYWORDS: Final = _keywords(Level.IMAGE)
