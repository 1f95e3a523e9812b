"""The patients of the demonstration: nobody, in four alphabets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """A patient who does not exist."""

    patient_id: str
    name: str
    birth_date: str
    sex: str
    character_set: tuple[str, ...]
    """Specific Character Set (0008,0005) that the name is sent in."""


LATIN = Person("DEMO-1001", "Lindström^Åsa^Märta", "19570314", "F", ("ISO_IR 100",))
CYRILLIC = Person("DEMO-1002", "Соколова^Анна^Викторовна", "19830922", "F", ("ISO_IR 144",))
JAPANESE = Person(
    "DEMO-1003",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "19490705",
    "M",
    ("", "ISO 2022 IR 87"),
)
VIETNAMESE = Person("DEMO-1004", "Nguyễn^Văn^Minh", "19611130", "M", ("ISO_IR 192",))
