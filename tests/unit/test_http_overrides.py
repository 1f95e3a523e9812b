"""Instances made over for another patient: what changes, and what must not."""

import io
import re
import warnings
from pathlib import Path

import pydicom
import pytest

from hilum.core.errors import HilumError, Invalid, Unsupported
from hilum.http.overrides import Patient, with_patient
from hilum.imaging.header import read_header
from tests import corpus, dcmtk
from tests.data_sets import encoded, item, minimal, native, part10

NEW = Patient("NEW-1", "New^Name")


def made(content: bytes, patient: Patient = NEW) -> bytes:
    return b"".join(with_patient(io.BytesIO(content), patient))


def dumped(content: bytes, folder: Path, *keys: str) -> dict[str, str]:
    path = folder / "made.dcm"
    path.write_bytes(content)
    return dcmtk.dump(path, *keys)


def flat(path: Path) -> list[str]:
    """Return dcmdump's whole text, without what an override is there to change."""
    output = dcmtk.run("dcmdump", "-q", "+L", "+R", "9999999", path).output
    changing = r"\((0002,00..|0010,00[12]0|0008,0018|0020,000[de]|0008,0005)\)"
    return [
        re.sub(r"# +[ufb/l\d]+.*", "", line)
        for line in output.splitlines()
        if line.startswith(("(", " ")) and not re.match(changing, line)
    ]


@pytest.mark.parametrize("path", corpus.pydicom_files(), ids=lambda path: path.stem)
def test_everything_else_stays_as_dcmdump_prints_it(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    if len(content) > 600_000:
        pytest.skip("large, and no different")
    try:
        header = read_header(io.BytesIO(content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = made(content)
    except HilumError:
        return
    again = read_header(io.BytesIO(result))
    identity = again.identity
    assert identity.patient_id == "NEW-1"
    assert identity.sop_instance_uid == NEW.derived_uid(header.identity.sop_instance_uid)
    assert identity.study_instance_uid == NEW.derived_uid(header.identity.study_instance_uid)
    assert again.transfer_syntax_uid == header.transfer_syntax_uid
    if header.pixel_data is not None:
        assert again.pixel_data is not None
        assert result[again.pixel_data.offset :] == content[header.pixel_data.offset :]
    (tmp_path / "new.dcm").write_bytes(result)
    before, after = flat(path), flat(tmp_path / "new.dcm")
    if before and after:
        assert after == before


def test_most_of_the_corpus_can_be_made_over() -> None:
    done, refused = 0, []
    for path in corpus.pydicom_files():
        content = path.read_bytes()
        try:
            read_header(io.BytesIO(content))
        except HilumError:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made(content)
            done += 1
        except Unsupported:
            refused.append(path.name)
    assert done >= 60
    # Without file meta information, deflated, or beyond what pydicom writes.
    assert len(refused) <= 5, refused


def test_a_name_beyond_the_files_character_set_brings_utf_8_with_it(tmp_path: Path) -> None:
    data_set = minimal(
        SpecificCharacterSet="ISO_IR 100",
        PatientName="Müller^Jürgen",
        StudyDescription="Schädel",
        PatientID="OLD",
    )
    result = made(part10(encoded(data_set)), Patient("НОВЫЙ", None))
    assert dumped(result, tmp_path, "SpecificCharacterSet", "PatientName", "StudyDescription") == {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Müller^Jürgen",
        "StudyDescription": "Schädel",
    }
    assert pydicom.dcmread(io.BytesIO(result)).PatientID == "НОВЫЙ"


def test_an_ascii_name_leaves_the_character_set_alone() -> None:
    data_set = minimal(SpecificCharacterSet="ISO_IR 100", StudyDescription="Schädel")
    result = made(part10(encoded(data_set)))
    assert b"ISO_IR 100" in result
    assert "Schädel".encode("latin-1") in result


def test_pixels_and_what_follows_them_pass_through() -> None:
    tail = native(bytes(range(256))) + b"\xfc\xff\xfc\xffOB\0\0" + b"\4\0\0\0" + b"tail"
    result = made(part10(encoded(minimal(Rows=16, Columns=16))) + tail)
    assert result.endswith(tail)
    assert result.count(item(b"")[:4]) == 0


def test_a_deflated_file_is_unsupported() -> None:
    path = next(path for path in corpus.pydicom_files() if path.name == "image_dfl.dcm")
    with pytest.raises(Unsupported, match="deflated"):
        made(path.read_bytes())


def test_uids_depend_on_the_patient_and_on_nothing_else() -> None:
    assert NEW.derived_uid("1.2") == Patient("NEW-1", "New^Name").derived_uid("1.2")
    others = [Patient("NEW-1", None), Patient(None, "New^Name"), Patient("NEW-1New^Name", None)]
    assert len({patient.derived_uid("1.2") for patient in (NEW, *others)}) == 4
    # dcmtk's own check: digits and dots, no leading zeros, at most 64 characters.
    assert re.fullmatch(r"2\.25\.[1-9]\d{0,38}", NEW.derived_uid("1.2"))


@pytest.mark.parametrize("value", ["A\\B", "x" * 65, "line\nbreak"])
def test_values_that_fit_no_vr_are_refused(value: str) -> None:
    with pytest.raises(Invalid, match="patientID"):
        Patient(value, None)


def test_no_value_is_no_override() -> None:
    assert not Patient(None, None)
    assert Patient(None, "x")
