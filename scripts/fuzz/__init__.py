"""Hostile input, made by the thousand: ``python -m scripts.fuzz --target header --seconds 600``.

A case is the bytes of a file, a body or a parameter, nearly right. What is fed with it answers
with a result or a domain error (`hilum.core.errors`), within ten seconds of processor time and a
gigabyte of memory; anything else is a finding. ``docs/reliability.md`` has what was found.
"""
