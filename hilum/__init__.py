"""Hilum: a DICOM node that receives, stores, indexes, finds and renders.

The rooms and who may import whom are drawn in ``docs/architecture.md``.
"""

__version__ = "0.1.0"
