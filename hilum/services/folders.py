"""Names of folders and files in archives: those Orthanc gives, that any system can have."""

from hilum.core.errors import NotFound
from hilum.index.resource import Resource
from hilum.index.stored import StoredInstance


class Folders:
    """The names of folders, each once beside its siblings."""

    def __init__(self, about: dict[str, Resource]) -> None:
        self._about = about
        self._paths: dict[str, str] = {"": ""}
        self._taken: dict[str, int] = {}

    def of(self, instance: StoredInstance) -> str:
        """Return the path of the folder of an instance's series."""
        identity = instance.identity
        study, series = self._resource(identity.study), self._resource(identity.series)
        steps = (
            (identity.patient, study.patient_main, ("PatientID", "PatientName"), "Patient"),
            (identity.study, study.main, ("AccessionNumber", "StudyDescription"), "Study"),
            (identity.series, series.main, ("Modality", "SeriesDescription"), "Series"),
        )
        path = ""
        for key, main, keywords, kind in steps:
            if key not in self._paths:
                words = " ".join(main.get(keyword, "") for keyword in keywords)
                self._paths[key] = self._single(path, plain(words) or f"Unknown {kind}")
            path = self._paths[key]
        return path

    def file(self, instance: StoredInstance, number: int) -> str:
        """Return the name of the file of a series' `number`-th instance, from 0."""
        modality = plain(self._resource(instance.identity.series).main.get("Modality", ""))
        letters = modality[:2].upper()
        return f"{letters}{number:0{8 - len(letters)}}.dcm"

    def _resource(self, key: str) -> Resource:
        try:
            return self._about[key]
        except KeyError:
            raise NotFound(f"{key} has gone meanwhile") from None

    def _single(self, path: str, name: str) -> str:
        """Return the path of a folder, numbered if its name is taken."""
        count = self._taken[path + name] = self._taken.get(path + name, 0) + 1
        return f"{path}{name}/" if count == 1 else f"{path}{name}-{count}/"


def plain(text: str) -> str:
    """Return what of a text can stand in the name of a file on any system."""
    kept = "".join(
        " " if letter in "^ \t\r\n" else letter if letter.isalnum() or letter in "._" else ""
        for letter in text
        if letter.isascii()
    )
    return " ".join(kept.split())
