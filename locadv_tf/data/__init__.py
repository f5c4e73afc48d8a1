"""Images with masks.

`load.py` is the way in (`load_data`), `masks.py` says where the background is, one function per answer. `sources.py`
reads TFDS and the embedded digits, `composite.py` draws digits on textures, `cache.py` keeps slow masks on disk,
`batches.py` reads what users hand in.
"""
