"""The DIMSE edge: associations, presentation contexts, one handler file a service.

pynetdicom stays in this room; what is stored and found is decided in ``services``.
"""
