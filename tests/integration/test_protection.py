"""Protection: kept, shown, and no more than Orthanc's."""

import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hilum.core.identifiers import public_id
from hilum.core.levels import Level
from hilum.index.database import Database
from tests.generated import ct, uid
from tests.integration.http_node import HttpNode, http_node
from tests.integration.test_dicomweb_delete import delete
from tests.integration.test_dicomweb_stow import encoded, part, related, store
from tests.orthancs import running_orthanc


@pytest.fixture
async def node(database: Database, tmp_path: Path) -> AsyncIterator[HttpNode]:
    async with http_node(database, tmp_path, allow_delete=True, keep_deleted=True) as node:
        await store(node, related(*(part(encoded(ct(study=study))) for study in (1, 2))))
        yield node


async def protected(node: HttpNode) -> dict[str, bool]:
    """Return what is protected, by study, as the list and the single studies agree on it."""
    answer = await (await node.client.get("/api/dicom/studies")).json()
    listed = {study["studyInstanceUID"]: study["protected"] for study in answer["data"]}
    for study, expected in listed.items():
        one = await (await node.client.get(f"/api/dicom/studies/{study}")).json()
        assert one["data"]["protected"] is expected
    return listed


async def protect(node: HttpNode, study: str, method: str = "PUT") -> int:
    path = f"/api/dicom/studies/{study}/protection"
    async with node.client.request(method, path) as answer:
        return answer.status


async def test_a_study_is_protected_until_it_is_not(node: HttpNode) -> None:
    assert await protected(node) == {uid(1): False, uid(2): False}
    assert [await protect(node, uid(1)) for _ in range(2)] == [200, 200]
    assert await protected(node) == {uid(1): True, uid(2): False}
    assert [await protect(node, uid(1), "DELETE") for _ in range(2)] == [200, 200]
    assert await protected(node) == {uid(1): False, uid(2): False}
    assert await protect(node, uid(3)) == 404


async def test_a_patient_protects_all_studies(node: HttpNode) -> None:
    protection = node.services.protection
    patient = public_id(ct(study=2).PatientID)
    assert not await protection.is_protected(patient)
    await protection.protect(Level.PATIENT, patient)
    assert await protection.is_protected(patient)
    assert await protected(node) == {uid(1): False, uid(2): True}
    await protection.protect(Level.PATIENT, patient, protected=False)
    assert await protected(node) == {uid(1): False, uid(2): False}


async def test_what_is_protected_is_deleted_by_name_and_comes_back_protected(
    node: HttpNode,
) -> None:
    await protect(node, uid(1))
    assert await delete(node, uid(1)) == 204
    assert await protected(node) == {uid(2): False}
    (entry,) = (await (await node.client.get("/api/trash")).json())["data"]
    assert (await node.client.post(f"/api/trash/{entry['id']}/restore")).status == 200
    assert await protected(node) == {uid(1): True, uid(2): False}


def test_orthanc_deletes_a_protected_patient_too(tmp_path: Path) -> None:
    with running_orthanc(tmp_path / "orthanc") as orthanc:

        def ask(method: str, path: str, body: bytes | None = None) -> Any:
            request = urllib.request.Request(orthanc.http_url + path, body, method=method)
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
            return json.loads(content) if content else None

        patient = ask("POST", "/instances", encoded(ct()))["ParentPatient"]
        assert patient == public_id(ct().PatientID)
        ask("PUT", f"/patients/{patient}/protected", b"1")
        assert ask("GET", f"/patients/{patient}/protected") == 1
        ask("DELETE", f"/patients/{patient}")
        assert ask("GET", "/patients") == []
