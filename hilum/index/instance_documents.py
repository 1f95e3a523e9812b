"""What an instance looks like in MongoDB, and how it is read back.

Its document has, side by side: plain fields under the standard's keywords, for back ends
and operators to read; `attributes`, the DICOM JSON of its level, ready to answer with;
`main`, Orthanc's main tags as text; `search`, the values in the form they are matched in
(`core.matching`); where its bytes and its pixels are; and the public ids of what contains it.
"""

from dataclasses import replace
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.errors import BSONError

from hilum.core.instance import Blob, Header, Identity, Instance, Origin, PixelData
from hilum.core.levels import Level
from hilum.index.document_fields import (
    kept_keywords,
    main_tags,
    order_key,
    plain_fields,
    search_fields,
)
from hilum.index.stored import StoredInstance

_KEYWORDS: Final = kept_keywords(Level.IMAGE)
#: Far above what any index attribute is meant to hold, far below MongoDB's 16 MB a document.
_LARGEST_ELEMENT_BYTES: Final = 256_000


def instance_document(instance: Instance) -> dict[str, Any]:
    """Return the document of an instance, all but the versions it has replaced."""
    header = instance.header
    identity = header.identity
    attributes = {tag: element for tag, element in header.attributes.items() if tag in _KEYWORDS}
    plain = plain_fields(Level.IMAGE, header.attributes)
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
        "main": main_tags(Level.IMAGE, header),
        "search": search_fields(_KEYWORDS, attributes),
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
