"""Images with masks.

`load.py` is the way in (`load_data`), `masks.py` says where the background is, one function per answer. `drawn.py`
reads masks that people drew, `overlap.py` compares masks, `cutouts.py` cuts objects out. `sources.py` reads TFDS and
the embedded digits, `prepared.py` finds TFDS's sets on disk, `streamed.py` reads what does not fit in memory, and
`memory.py` says what that is. `composite.py` draws digits on textures, `caltech101.py` makes a TFDS set, `cache.py`
keeps slow masks on disk, `batches.py` reads what users hand in.
"""
