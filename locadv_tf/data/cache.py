"""Masks on disk: computed once for each set of images, source and options. Parallel runs can share them."""

import contextlib
import hashlib
import json
import math
import os
import pathlib
import re
import tempfile
import warnings

import numpy as np

from locadv_tf.data import masks

CACHED = ("border", "grabcut", "saliency")  # the other masks are faster than reading a file
CACHE_VERSION = 1  # of the cache files' format


def cache_file(name, source, x, y, options):
    """The masks' file. Its name is a digest of everything that decides the masks (`CACHED` sources use no seed)."""
    options = dict(options)
    model = options.pop("model", None)
    try:
        about = json.dumps([CACHE_VERSION, name, source, options, x.shape], sort_keys=True)
    except TypeError as error:
        raise ValueError(f"mask_options={options!r}; expected plain numbers as values.") from error
    # masks.py is a part of the key: after a change in it, old masks must not be used.
    parts = [about.encode(), pathlib.Path(masks.__file__).read_bytes(), x.tobytes(), y.tobytes()]
    if model is not None:
        # Keras numbers layers in each session (dense, dense_1): names without numbers make equal models equal.
        config = json.dumps(model.get_config(), sort_keys=True, default=str)
        parts.append(re.sub(r'("name": "[^"]*?)_\d+"', r'\1"', config).encode())
        parts.extend(weight.tobytes() for weight in model.get_weights())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    root = os.environ.get("LOCADV_CACHE_DIR")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "locadv_tf")
    readable = re.sub(r"[^\w.-]", "_", name)  # names may be "set/config" or "set:1.0.0"
    return pathlib.Path(root, "masks", f"{readable}-{source}-{digest.hexdigest()[:32]}.npz")


def cached(path, compute, shape):
    """Masks from the file, or computed and written there. Readers never see half a file."""
    # No file, half a file, another format, a file of an earlier version without a checksum: compute again.
    # (np.load does not close a broken file: hence open.)
    with contextlib.suppress(Exception), open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        bits = arrays["bits"]
        if np.array_equal(arrays["checksum"], _checksum(path, shape, bits)):  # else it holds something else
            return np.unpackbits(bits, count=math.prod(shape)).reshape(shape)
    background = compute()
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as aside:
            bits = np.packbits(background)
            np.savez_compressed(aside, bits=bits, checksum=_checksum(path, shape, bits))
        os.replace(aside.name, path)
    except OSError as error:  # a full or read-only disk: slower next time, but no error
        warnings.warn(f"masks are not kept ({error}); set LOCADV_CACHE_DIR to a writable folder.", stacklevel=4)
    finally:
        if aside is not None:
            pathlib.Path(aside.name).unlink(missing_ok=True)  # it exists only if it was not renamed
    return background


def _checksum(path, shape, bits):
    """Of a file's name, which says what the masks are of, and of its contents: uint8 `(32,)`."""
    content = json.dumps([path.name, *map(int, shape)]).encode() + bits.tobytes()
    return np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
