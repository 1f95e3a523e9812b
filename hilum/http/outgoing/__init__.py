"""HTTP clients: what this node says to others of its own accord.

Handlers of requests do not belong here, nor does deciding when to say it.
"""
