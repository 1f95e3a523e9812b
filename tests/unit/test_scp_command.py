"""Command sets against pydicom's reading and writing of the same elements."""

from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from hilum.core.errors import Invalid
from hilum.scp.command import _ELEMENTS, Command, CommandField, decode

US = st.integers(0, 0xFFFF)
UID = st.from_regex(r"[1-9][0-9]{0,5}(\.[1-9][0-9]{0,5}){1,6}", fullmatch=True)
TITLE = st.from_regex(r"[A-Z0-9_]{1,16}", fullmatch=True)
COMMENT = st.from_regex(r"[a-z0-9:,_-]([a-z0-9 :,_-]{0,62}[a-z0-9])?", fullmatch=True)
VALUES = {"US": US, "UI": UID, "AE": TITLE, "LO": COMMENT, "AT": st.integers(0, 0xFFFFFFFF)}


@st.composite
def commands(draw: st.DrawFn) -> Command:
    values: dict[str, Any] = {"field": draw(US), "data_set_type": draw(US)}
    for name, vr in _ELEMENTS.values():
        if name not in values and draw(st.booleans()):
            values[name] = draw(VALUES[vr])
    return Command(**values)


def test_tags_and_representations_are_those_of_the_dictionary() -> None:
    for element, (name, vr) in _ELEMENTS.items():
        keyword = keyword_for_tag(element)
        assert dictionary_VR(element) == vr, name
        words = {word.lower() for word in name.split("_")}
        renamed = {"responded": "respondedto", "ae": "applicationentity"}
        assert all(renamed.get(word, word) in keyword.lower() for word in words), (name, keyword)


@given(commands())
def test_pydicom_reads_what_is_written(command: Command) -> None:
    encoded = command.encode()
    data_set = read_dataset(BytesIO(encoded), True, True)
    assert data_set.CommandGroupLength == len(encoded) - 12
    for element, (name, _) in _ELEMENTS.items():
        value = getattr(command, name)
        assert (element in data_set) == (value is not None)
        if value is not None:
            assert data_set[element].value == value
    assert [int(e.tag) for e in data_set] == sorted(int(e.tag) for e in data_set)


@given(commands())
def test_what_pydicom_writes_is_read(command: Command) -> None:
    data_set = Dataset()
    for element, (name, vr) in _ELEMENTS.items():
        if getattr(command, name) is not None:
            data_set.add_new(element, vr, getattr(command, name))
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = True, True
    write_dataset(file, data_set)
    assert decode(file.getvalue()) == command


@given(st.binary(max_size=200))
def test_any_bytes_are_a_command_or_invalid(data: bytes) -> None:
    with suppress(Invalid):
        decode(data)


@given(commands(), st.data())
def test_cut_or_changed_bytes_are_a_command_or_invalid(
    command: Command, data: st.DataObject
) -> None:
    encoded = bytearray(command.encode())
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    length = data.draw(st.integers(0, len(encoded)))
    with suppress(Invalid):
        decode(bytes(encoded[:length]))


def test_padding_is_no_part_of_a_value() -> None:
    data = b"\0\0\0\1\2\0\0\0\x20\0" + b"\0\0\2\0\6\0\0\x001.2.3 " + b"\0\0\0\6\4\0\0\0AB\0\0"
    command = decode(data)
    assert (command.affected_sop_class_uid, command.move_destination) == ("1.2.3", "AB")


def test_response_repeats_what_it_responds_to() -> None:
    request = Command(
        CommandField.C_STORE_RQ,
        message_id=7,
        affected_sop_class_uid="1.2",
        affected_sop_instance_uid="1.3",
        priority=1,
        data_set_type=0,
    )
    assert request.response(0xA700) == Command(
        CommandField.C_STORE_RSP,
        responded_message_id=7,
        affected_sop_class_uid="1.2",
        affected_sop_instance_uid="1.3",
        status=0xA700,
    )


@pytest.mark.parametrize("data", [b"", b"\0\0\0\1\1\0\0\0\x20", b"\0\0\2\0\2\0\0\x001."])
def test_command_without_a_command_field_is_invalid(data: bytes) -> None:
    with pytest.raises(Invalid):
        decode(data)


def test_element_of_a_data_set_among_those_of_a_command_is_passed_over() -> None:
    """As Orthanc 1.10.1 ends a C-GET that has failed."""
    command = Command(CommandField.C_GET_RSP, responded_message_id=1, status=0xB000, failed=1)
    stray = b"\x08\0\x58\0\6\0\0\x001.2.3\0"
    assert decode(command.encode() + stray) == command
