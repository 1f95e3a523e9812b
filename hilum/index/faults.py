"""The driver's errors, translated: none of its exceptions leaves this room."""

from collections.abc import Iterator
from contextlib import contextmanager

from bson.errors import InvalidDocument
from pymongo.errors import DocumentTooLarge, PyMongoError

from hilum.core.errors import IndexUnavailable, Invalid


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises inside the block into errors of Hilum's own.

    Raises
    ------
    Invalid
        A document cannot be written, now or later: too large, or not representable.
    IndexUnavailable
        Anything else: MongoDB is away, hangs, steps down, is out of disk.
    """
    try:
        yield
    except (DocumentTooLarge, InvalidDocument, OverflowError, UnicodeEncodeError) as error:
        raise Invalid(f"MongoDB cannot keep this document: {type(error).__name__}") from error
    except PyMongoError as error:
        # Only the kind of fault: the text of a driver error may quote a document.
        raise IndexUnavailable(f"MongoDB does not answer: {describe(error)}") from error


def describe(error: PyMongoError) -> str:
    """Return the kind of a driver error, with MongoDB's own code where it has one."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
