"""Faults made on purpose, on real nodes: ``python -m scripts.chaos [case ...]``.

A case starts nodes of its own on free ports and folders of its own, does harm to them, and
ends in a verdict that other programs give: dcmtk's ``findscu`` and ``dcmdump``, ``sha256sum``,
and the kernel's books about the processes. ``docs/reliability.md`` has what was seen.
"""
