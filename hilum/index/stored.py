"""What the index gives back: matches of a query, stored instances, a study's frames in order."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import accumulate

from hilum.core.errors import NoPixelData, NotFound
from hilum.core.instance import Attributes, Blob, Identity, PixelData


@dataclass(frozen=True)
class Match:
    """One entity that a query found."""

    attributes: Attributes
    """What is known of it: of its own level, of those above, and computed ones.

    Of a query that says what it wants (`Query.requested`), at least that.
    """
    patient: str
    """Public ids, of the entity and what contains it; empty below the query's level."""
    study: str = ""
    series: str = ""
    instance: str = ""
    frame_count: int = 0
    """Frames with pixels in it."""
    size_bytes: int = 0
    """Of its files, current versions only."""
    received_at: datetime | None = None
    """When its first instance arrived (UTC)."""
    updated_at: datetime | None = None
    """When its last instance arrived (UTC)."""


@dataclass(frozen=True)
class StoredInstance:
    """Where an instance's bytes are, and what it takes to send or to render them."""

    identity: Identity
    sop_class_uid: str
    transfer_syntax_uid: str
    blob: Blob
    data_set_offset: int
    pixel_data: PixelData | None

    @property
    def number_of_frames(self) -> int:
        """Frames that can be rendered; 0 without pixel data."""
        return self.pixel_data.frame_count if self.pixel_data else 0


@dataclass(frozen=True)
class StudyLayout:
    """The instances of a study in order, and so its frames, counted through from 0.

    By series number, instance number, frame; what has no number comes last, by UID.
    """

    study_instance_uid: str
    instances: tuple[StoredInstance, ...] = field(repr=False)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(instance.number_of_frames for instance in self.instances))

    @property
    def total(self) -> int:
        """Frames in the study."""
        return self._ends[-1] if self._ends else 0

    def frame_at(self, index: int) -> tuple[StoredInstance, int]:
        """Return the instance that has the study's frame `index`, and which of its own it is.

        Parameters
        ----------
        index
            From 0 over the study.

        Raises
        ------
        NotFound
            The study has no such frame.
        NoPixelData
            It has none at all.
        """
        if not self.total:
            raise NoPixelData(f"study {self.study_instance_uid} has no pixel data")
        if not 0 <= index < self.total:
            raise NotFound(f"study {self.study_instance_uid} has {self.total} frames, no {index}")
        position = bisect_right(self._ends, index)
        instance = self.instances[position]
        return instance, index - (self._ends[position] - instance.number_of_frames)

    def below(
        self, series_instance_uid: str | None = None, sop_instance_uid: str | None = None
    ) -> Sequence[StoredInstance]:
        """Return the instances of the study, of a series of it, or one, in reading order.

        Raises
        ------
        NotFound
            There is no such series or instance.
        """
        if series_instance_uid is None:
            return self.instances
        if sop_instance_uid is None:
            found = [
                each
                for each in self.instances
                if each.identity.series_instance_uid == series_instance_uid
            ]
            if not found:
                raise NotFound(
                    f"no series {series_instance_uid} in study {self.study_instance_uid}"
                )
            return found
        instance = self._by_uid.get((series_instance_uid, sop_instance_uid))
        if instance is None:
            raise NotFound(f"no instance {sop_instance_uid} in series {series_instance_uid}")
        return [instance]

    @cached_property
    def _by_uid(self) -> dict[tuple[str, str], StoredInstance]:
        return {
            (each.identity.series_instance_uid, each.identity.sop_instance_uid): each
            for each in reversed(self.instances)
        }


@dataclass(frozen=True)
class Statistics:
    """What the index holds, all in all."""

    patients: int
    studies: int
    series: int
    instances: int
    frames: int
    size_bytes: int
