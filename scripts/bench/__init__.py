"""Hilum beside a peer: the same data, the same senders, in turn, on fresh data folders.

``make bench`` runs it; `docs/performance.md` says how it measures and has the figures.
"""
