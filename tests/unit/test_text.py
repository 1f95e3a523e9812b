"""Folding: what a reader takes for the same name is the same to a search."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.text import fold, fold_name_group, name_slots, pad_name_group


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller", "MULLER"),
        ("Mu\u0308ller", "müller"),
        ("Straße", "STRASSE"),
        ("Łódź", "lodz"),
        ("Søren", "SOREN"),
        ("Ærø", "aero"),
        ("Đặng", "dang"),
        ("İpek", "ipek"),
        ("ışık", "isik"),
        ("Фёдор", "ФЕДОР"),
        ("Андрей", "АНДРЕИ"),
        ("Ｙａｍａｄａ", "YAMADA"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("김희중", "김희중"),
        ("Οδυσσεύς", "ΟΔΥΣΣΕΥΣ"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("  de   la Cruz ", "DE LA CRUZ"),
        ("O’Neill", "o'neill"),
    ],
)
def test_spellings_of_one_name_meet(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("が", "か"),
        ("パ", "ハ"),
        ("กี", "กา"),
        ("कि", "का"),
        ("山田", "山口"),
        ("Muller", "Mueller"),
    ],
)
def test_different_letters_stay_different(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text())
def test_folding_again_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)


@given(st.text(st.characters(codec="ascii")))
def test_plain_text_takes_the_short_way_to_the_same_form(text: str) -> None:
    assert fold(text) == fold(text + "é").removesuffix("e").strip()


def test_a_name_group_has_five_components_in_the_index() -> None:
    assert name_slots("Smith^John", "", "") == ("smith^john^^^", "", "")
    assert name_slots("A^B^C^D^E") == ("a^b^c^d^e", "", "")
    assert name_slots("", "山田^太郎", "やまだ^たろう") == (
        "",
        "山田^太郎^^^",
        "やまだ^たろう^^^",
    )


@given(st.lists(st.text("ab^ é", max_size=6), max_size=5).map("^".join))
def test_padding_hides_how_many_carets_were_written(group: str) -> None:
    folded = fold_name_group(group)
    assert pad_name_group(folded).rstrip("^") == folded
    assert pad_name_group(fold_name_group(group + "^")) == pad_name_group(folded)
