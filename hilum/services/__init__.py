"""The use cases both edges share: ingest, search, retrieve, pictures.

No DIMSE and no HTTP: neither a status code nor a socket enters here.
"""
