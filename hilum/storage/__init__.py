"""The bytes: the spool they arrive in, the content-addressed store they stay in.

Nothing here knows what a data set means, who asks, or that an index exists.
"""
