"""The HTTP edge: health, upload, studies, frames, and the web page.

aiohttp stays in this room; what is stored, found and drawn is decided in ``services``.
"""
