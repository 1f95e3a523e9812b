"""Typed settings, DICOM peers and logging.

Only ``node`` and ``cli`` import this room; nothing here knows DICOM's services, HTTP or MongoDB.
"""
