"""Errors of pydicom without the story it tells in each: imported for that effect.

At every level of a data set pydicom puts the traceback so far into the message of the next
exception, which is more than twice as long then. A faulty value fourteen sequences deep takes
gigabytes. Nobody here reads these messages: the errors pass as they are raised.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import dataset, filewriter
from pydicom.tag import BaseTag


@contextmanager
def _plainly(_tag: BaseTag) -> Iterator[None]:
    yield


for _module in (dataset, filewriter):
    assert "tag_in_exception" in vars(_module)
    vars(_module)["tag_in_exception"] = _plainly
