"""Routing rules: which instances go where, and when.

A rule speaks of instances. At its moment, of those that arrived or that are in what became
stable, each one goes to the rule's destinations that fulfils all its conditions.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import translate
from functools import cached_property
from typing import TypeAlias

from hilum.core.instance import MIGRATION
from hilum.core.text import fold

#: What is known of an instance, by the names of conditions; "" or absent: nothing.
Traits: TypeAlias = Mapping[str, str]


class Moment(StrEnum):
    """When a rule is applied."""

    ARRIVAL = "arrival"
    """To each instance, as soon as it can be found."""
    STABLE_SERIES = "stable-series"
    """To the instances of a series, when nothing new of it has come for a while."""
    STABLE_STUDY = "stable-study"
    """To those of a study, likewise."""


@dataclass(frozen=True)
class Rule:
    """What is sent where, and when.

    Patterns match whole values without regard to case and accents; ``*`` is any text, also
    none, ``?`` any one character.
    """

    name: str
    moment: Moment
    destinations: tuple[str, ...]
    conditions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Patterns by trait: one of each trait's must match."""

    def holds_for(self, traits: Traits) -> bool:
        """Return whether an instance with these traits fulfils every condition.

        What was copied from another archive is no news: it has to be asked for, by `source`.
        """
        if traits.get("source") == MIGRATION and "source" not in self.conditions:
            return False
        return all(
            pattern.match(fold(traits.get(trait, ""))) is not None
            for trait, pattern in self._patterns.items()
        )

    @cached_property
    def _patterns(self) -> dict[str, re.Pattern[str]]:
        return {name: _compiled(patterns) for name, patterns in self.conditions.items()}


def _compiled(patterns: Collection[str]) -> re.Pattern[str]:
    # fnmatch's regular expressions do not backtrack without end. Of its wildcards one more
    # than ours: [ stands for itself here.
    return re.compile("|".join(translate(fold(text).replace("[", "[[]")) for text in patterns))
