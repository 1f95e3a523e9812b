"""Orthanc's REST API: what speaks to an Orthanc speaks to this node when its URL is changed.

Routes, ids, names and forms are Orthanc's (docs/orthanc.md); one file a group of routes.
"""
