"""What services answer to instances they are sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.errors import HilumError, Invalid, PeerUnreachable, Temporary
from hilum.http.outgoing.stow_answer import outcomes

UIDS = ["1.2.3", "1.2.4", "1.2.5"]


def item(uid: str, reason: int | None = None) -> dict[str, Any]:
    """An item as PS3.18 table I.1-1 has it, tags by hand."""
    element: dict[str, Any] = {
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00081155": {"vr": "UI", "Value": [uid]},
    }
    if reason is not None:
        element["00081197"] = {"vr": "US", "Value": [reason]}
    return element


def answer(stored: list[str], failed: dict[str, int]) -> bytes:
    return json.dumps(
        {
            "00081190": {"vr": "UR", "Value": ["http://archive/studies/1"]},
            "00081198": {"vr": "SQ", "Value": [item(uid, code) for uid, code in failed.items()]},
            "00081199": {"vr": "SQ", "Value": [item(uid) for uid in stored]},
        }
    ).encode()


def kinds(results: list[HilumError | None]) -> list[type | None]:
    return [None if result is None else type(result) for result in results]


@pytest.mark.parametrize("status", [200, 202, 409])
def test_what_is_said_of_an_instance_counts_more_than_the_status(status: int) -> None:
    body = answer(["1.2.3"], {"1.2.4": 0xA700, "1.2.5": 0xC122})
    assert kinds(outcomes(status, body, UIDS)) == [None, Temporary, Invalid]
    assert "C122" in str(outcomes(status, body, UIDS)[2])


def test_all_in_order_needs_no_word_of_any() -> None:
    assert outcomes(200, b"", UIDS) == [None] * 3
    assert outcomes(200, answer([], {}), UIDS) == [None] * 3


@pytest.mark.parametrize("status", [202, 409])
@pytest.mark.parametrize("body", [b"", b"<NativeDicomModel/>", b"[]", b"{}", b"null"])
def test_trouble_without_a_word_of_an_instance_is_none_of_it_stored(
    status: int, body: bytes
) -> None:
    results = outcomes(status, body, UIDS)
    assert kinds(results) == [Invalid] * 3
    assert results[0] is results[2], "it is said of all"


def test_forms_that_some_services_have() -> None:
    """A list around the data set; the number as text; an empty sequence without a value."""
    failed = {"00081198": {"vr": "SQ", "Value": [item("1.2.3")]}, "00081199": {"vr": "SQ"}}
    failed["00081198"]["Value"][0]["00081197"] = {"vr": "US", "Value": ["42752"]}
    assert kinds(outcomes(200, json.dumps([failed]).encode(), UIDS)) == [Temporary, None, None]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, PeerUnreachable),
        (400, Invalid),
        (401, PeerUnreachable),
        (403, PeerUnreachable),
        (404, PeerUnreachable),
        (413, Invalid),
        (415, Invalid),
        (429, Temporary),
        (500, Temporary),
        (502, PeerUnreachable),
        (503, PeerUnreachable),
        (504, PeerUnreachable),
        (507, Temporary),
    ],
)
def test_a_status_says_whose_fault_it_is(status: int, kind: type[HilumError]) -> None:
    results = outcomes(status, answer(UIDS, {}), UIDS)
    assert kinds(results) == [kind] * 3
    assert str(status) in str(results[0])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["00081198", "00081199", "00081155", "00081197", "Value", "vr"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from([200, 202, 409]),
    st.binary(max_size=40) | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_no_answer_breaks_anything(status: int, body: bytes) -> None:
    results = outcomes(status, body, UIDS)
    assert len(results) == len(UIDS)
    assert all(result is None or isinstance(result, HilumError) for result in results)
