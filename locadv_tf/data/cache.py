"""Masks on disk: computed once for each set of images, source and options; safe for runs side by side."""

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

CACHED = ("border", "grabcut", "saliency")  # the other masks take less time than reading a file
CACHE_VERSION = 1  # of the cache files' format


def cache_file(name, source, x, y, options):
    """Where the masks are kept. The name is a digest of all that decides about them (no seed: `CACHED` have none)."""
    options = dict(options)
    model = options.pop("model", None)
    try:
        about = json.dumps([CACHE_VERSION, name, source, options, x.shape], sort_keys=True)
    except TypeError as error:
        raise ValueError(f"mask_options={options!r} cannot be told apart on disk; expected plain numbers.") from error
    # masks.py itself belongs to the key: who changes a line of it must not look at yesterday's masks.
    parts = [about.encode(), pathlib.Path(masks.__file__).read_bytes(), x.tobytes(), y.tobytes()]
    if model is not None:
        # Keras numbers layers as a session builds them (dense, dense_1): the same layers built again are the same.
        config = json.dumps(model.get_config(), sort_keys=True, default=str)
        parts.append(re.sub(r'("name": "[^"]*?)_\d+"', r'\1"', config).encode())
        parts.extend(weight.tobytes() for weight in model.get_weights())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    root = os.environ.get("LOCADV_CACHE_DIR")
    if not root:
        root = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "locadv_tf")
    readable = re.sub(r"[^\w.-]", "_", name)  # "set/config" and "set:1.0.0" are names, too
    return pathlib.Path(root, "masks", f"{readable}-{source}-{digest.hexdigest()[:32]}.npz")


def cached(path, compute, shape):
    """Masks from the file, or computed and written there: aside, then renamed, so that no reader meets half a file."""
    # Not there, cut short, of another format: computing anew mends them all. (np.load leaves a broken path open.)
    with contextlib.suppress(Exception), open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        bits, count = arrays["bits"], math.prod(shape)
        if bits.size == math.ceil(count / 8):  # else they are the masks of other images
            return np.unpackbits(bits, count=count).reshape(shape)
    background = compute()
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as aside:
            np.savez_compressed(aside, bits=np.packbits(background))
        os.replace(aside.name, path)
    except OSError as error:  # a full or read-only disk costs time, not the lesson
        warnings.warn(f"masks are not kept ({error}); set LOCADV_CACHE_DIR to a folder to write to.", stacklevel=4)
    finally:
        if aside is not None:
            pathlib.Path(aside.name).unlink(missing_ok=True)  # there only if it was not renamed
    return background
