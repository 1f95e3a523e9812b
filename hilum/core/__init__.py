"""The nouns every room shares: identifiers, levels, instances, queries, errors.

Pure values and functions: no file, no socket, no database, no clock. Nothing here
imports another room.
"""
