"""findscu asks at every level; dcmdump over the files says what the answer is."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from tests import dcmtk
from tests.corpus import charset_files, pydicom_files, real_files, rows
from tests.e2e.test_store import in_groups
from tests.nodes import RunningNode

pytestmark = pytest.mark.timeout(300)

KEYWORDS = (
    "PatientID",
    "PatientName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "StudyDate",
    "AccessionNumber",
    "Modality",
)
Values = dict[str, str]


class Holdings:
    """What was stored, by dcmdump, and what a query over it should give."""

    def __init__(self, instances: Iterable[Values]) -> None:
        self.instances = list(instances)

    def keys(self, *keywords: str) -> set[tuple[str, ...]]:
        return {tuple(item.get(k, "") for k in keywords) for item in self.instances}

    def studies(self, predicate: Callable[[Values], bool]) -> set[str]:
        """Studies any instance of which has the values asked for."""
        return {i["StudyInstanceUID"] for i in self.instances if predicate(i)}


@pytest.fixture(scope="module")
def holdings(shared_node: RunningNode) -> Holdings:
    alone = {row["file"] for row in rows("MANIFEST.csv") if row["same_uid_in_set"] == "1"}
    files = [p for p in real_files() if "/".join(p.parts[-2:]) in alone]
    # One file for each instance: of two, the node would keep the later as current.
    dumped = {
        path: dcmtk.dump(path, *KEYWORDS)
        for path in (*pydicom_files(), *files, *charset_files().values())
    }
    by_uid = {values.get("SOPInstanceUID", ""): path for path, values in dumped.items()}
    files = [path for uid, path in by_uid.items() if uid]
    stored: list[Path] = []
    for option, group in in_groups(tuple(files)).items():
        stored += dcmtk.storescu(shared_node.peer, "-R", option, *group).acknowledged
    return Holdings(dumped[path] for path in stored)


def find(node: RunningNode, model: str, **keys: str) -> list[Values]:
    """Ask with findscu; return the pending responses' values by keyword."""
    arguments = [a for k, v in keys.items() for a in ("-k", f"{k}={v}" if v else k)]
    output = dcmtk.run(
        "findscu", model, *node.peer, "-k", "SpecificCharacterSet=ISO_IR 192", *arguments
    ).output
    responses: list[Values] = []
    for line in output.splitlines():
        if "Find Response:" in line:
            responses.append({})
        elif responses and (
            m := re.match(
                r"I: \(\w{4},\w{4}\) \w\w (?:\[(.*)\]|=?(\S+)|\(no value available\)) *#.* (\w+)$",
                line,
            )
        ):
            responses[-1][m[3]] = (m[1] or m[2] or "").rstrip(" \0")
    return responses


def test_every_level_in_both_models(shared_node: RunningNode, holdings: Holdings) -> None:
    patients = find(shared_node, "-P", QueryRetrieveLevel="PATIENT", PatientID="")
    assert {(p["PatientID"],) for p in patients} == holdings.keys("PatientID")
    studies = find(shared_node, "-S", QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientID="")
    assert sorted((s["PatientID"], s["StudyInstanceUID"]) for s in studies) == sorted(
        holdings.keys("PatientID", "StudyInstanceUID")
    )
    checked = 0
    for patient_id, study in sorted(holdings.keys("PatientID", "StudyInstanceUID"))[::6]:
        series = find(
            shared_node,
            "-S",
            QueryRetrieveLevel="SERIES",
            StudyInstanceUID=study,
            SeriesInstanceUID="",
        )
        mine = {
            k[1] for k in holdings.keys("StudyInstanceUID", "SeriesInstanceUID") if k[0] == study
        }
        assert {s["SeriesInstanceUID"] for s in series} == mine
        for uid in mine:
            images = find(
                shared_node,
                "-P",
                QueryRetrieveLevel="IMAGE",
                PatientID=patient_id,
                StudyInstanceUID=study,
                SeriesInstanceUID=uid,
                SOPInstanceUID="",
            )
            expected = {
                i["SOPInstanceUID"]
                for i in holdings.instances
                if (i["StudyInstanceUID"], i["SeriesInstanceUID"]) == (study, uid)
                and i.get("PatientID", "") == patient_id
            }
            if patient_id:  # an empty key would be universal
                assert {i["SOPInstanceUID"] for i in images} == expected
                checked += 1
    assert checked > 5


@pytest.mark.parametrize("pattern", ["*", "comp*", "COMP*", "?o*", "Last*", "*GATED*"])
def test_names_with_wildcards_are_matched_without_case(
    shared_node: RunningNode, holdings: Holdings, pattern: str
) -> None:
    found = find(
        shared_node, "-S", QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName=pattern
    )

    def expected(values: Values) -> bool:
        name = values.get("PatientName", "").casefold()
        groups = [group for group in name.split("=") if group] or [""]
        return (
            any(fnmatch.fnmatchcase(group.ljust(1), pattern.casefold()) for group in groups)
            or pattern == "*"
        )

    assert {s["StudyInstanceUID"] for s in found} == holdings.studies(expected)


YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"  # PS3.5 H.3.1


@pytest.mark.parametrize(
    ("key", "file", "name"),
    [
        ("Buc^Jérôme", "chrFren", "Buc^Jérôme"),
        ("buc^jerome", "chrFren", "Buc^Jérôme"),
        ("BUC^J*", "chrFren", "Buc^Jérôme"),
        ("Äneas^Rüdiger", "chrGerm", "Äneas^Rüdiger"),
        ("aneas*", "chrGerm", "Äneas^Rüdiger"),
        ("Люк*", "chrRuss", "Люкceмбypг"),
        ("люк*", "chrRuss", "Люкceмбypг"),
        ("ΔΙΟΝΥΣΙΟΣ", "chrGreek", "Διονυσιος"),
        ("山田^太郎", "chrH31", YAMADA),
        ("yamada*=山田*", "chrH31", YAMADA),
        ("*=*=やまだ^たろう", "chrH31", YAMADA),
        ("洪^吉洞", "chrI2", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("王*", "chrX1", "Wang^XiaoDong=王^小東="),
        ("wang^xiao*", "chrX2", "Wang^XiaoDong=王^小东="),
    ],
)
def test_names_in_many_scripts(
    shared_node: RunningNode, holdings: Holdings, key: str, file: str, name: str
) -> None:
    study = dcmtk.dump(charset_files()[file], "StudyInstanceUID")["StudyInstanceUID"]
    found = find(
        shared_node, "-S", QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName=key
    )
    assert {s["StudyInstanceUID"]: s["PatientName"].rstrip("=") for s in found}[
        study
    ] == name.rstrip("=")


@pytest.mark.parametrize("dates", ["20040101-20041231", "-20031231", "20100101-", "20040826"])
def test_date_ranges(shared_node: RunningNode, holdings: Holdings, dates: str) -> None:
    first, _, last = dates.partition("-")
    last = last if "-" in dates else first
    found = find(
        shared_node, "-S", QueryRetrieveLevel="STUDY", StudyInstanceUID="", StudyDate=dates
    )
    expected = holdings.studies(
        lambda v: (
            bool(v.get("StudyDate"))
            and (first or "0") <= v["StudyDate"].replace(".", "") <= (last or "9")
        )
    )
    assert {s["StudyInstanceUID"] for s in found} == expected
    assert expected


def test_lists_of_uids(shared_node: RunningNode, holdings: Holdings) -> None:
    wanted = sorted(uid for (uid,) in holdings.keys("StudyInstanceUID"))[:7]
    found = find(shared_node, "-S", QueryRetrieveLevel="STUDY", StudyInstanceUID="\\".join(wanted))
    assert {s["StudyInstanceUID"] for s in found} == set(wanted)


@pytest.mark.parametrize("modality", ["CT", "MR", "US"])
def test_modalities_in_study(shared_node: RunningNode, holdings: Holdings, modality: str) -> None:
    found = find(
        shared_node,
        "-S",
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID="",
        ModalitiesInStudy=modality,
    )
    # Files of one series with several modalities are not conformant (PS3.3 C.7.3.1.1.1).
    mixed = {
        i["StudyInstanceUID"]
        for i in holdings.instances
        if len(
            {
                m
                for s, m in holdings.keys("SeriesInstanceUID", "Modality")
                if s == i["SeriesInstanceUID"]
            }
        )
        > 1
    }
    expected = holdings.studies(lambda values: values.get("Modality") == modality)
    assert {s["StudyInstanceUID"] for s in found} - mixed == expected - mixed
    for study in found:
        held = {
            i.get("Modality")
            for i in holdings.instances
            if i["StudyInstanceUID"] == study["StudyInstanceUID"]
        }
        if study["StudyInstanceUID"] not in mixed:
            assert set(study["ModalitiesInStudy"].split("\\")) == held - {None, ""}


def test_counts(shared_node: RunningNode, holdings: Holdings) -> None:
    found = find(
        shared_node,
        "-S",
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID="",
        PatientID="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
    )
    for study in found:
        mine = [
            i
            for i in holdings.instances
            if (i["StudyInstanceUID"], i.get("PatientID", ""))
            == (study["StudyInstanceUID"], study["PatientID"])
        ]
        assert int(study["NumberOfStudyRelatedInstances"]) == len(mine)
        assert int(study["NumberOfStudyRelatedSeries"]) == len(
            {i["SeriesInstanceUID"] for i in mine}
        )


def test_universal_keys_come_back_and_others_do_not(
    shared_node: RunningNode, holdings: Holdings
) -> None:
    study = next(iter(holdings.keys("StudyInstanceUID")))[0]
    [response] = find(
        shared_node,
        "-S",
        QueryRetrieveLevel="STUDY",
        StudyInstanceUID=study,
        PatientComments="",
        PatientName="",
    )
    assert {"StudyInstanceUID", "PatientComments", "PatientName", "QueryRetrieveLevel"} <= set(
        response
    )
    assert "StudyDate" not in response


def test_a_missing_unique_key_is_refused(shared_node: RunningNode) -> None:
    output = dcmtk.run(
        "findscu",
        "-v",
        "-S",
        *shared_node.peer,
        "-k",
        "QueryRetrieveLevel=SERIES",
        "-k",
        "SeriesInstanceUID",
    ).output
    assert "DataSetDoesNotMatchSOPClass" in output or "0xa900" in output.lower()
