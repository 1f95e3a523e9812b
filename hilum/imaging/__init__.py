"""Pixels and headers as pure functions: scan, frame access, decode, window, encode.

No database, no network, no store: bytes and paths come in, values and pictures go out.
"""
