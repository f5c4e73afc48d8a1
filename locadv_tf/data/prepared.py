"""TFDS's sets on disk: found, checked, prepared if need be; or what is wrong with them, in one line."""

import difflib
import os
import re

import numpy as np
import tensorflow as tf

from locadv_tf.network import answers as _network_answers

EMBEDDED = ("digits", "composite")


def builder_of(name):
    import tensorflow_datasets as tfds  # here: the embedded sets do not need it, and its import is slow

    # No "huggingface:…" or community names: TFDS would use the network to look them up.
    if isinstance(name, str) and re.fullmatch(r"\w+(/[\w.-]+)?(:[\d.*]+)?", name):
        try:
            return tfds.builder(name, data_dir=data_dir())
        except tfds.core.DatasetNotFoundError:
            pass
        except Exception as error:  # an unknown configuration or version, a missing package, a damaged description
            folder = os.path.join(data_dir(), re.split("[/:]", name)[0])
            anew = f" If it is right, delete the folder {folder} and load the set again." * os.path.isdir(folder)
            raise ValueError(
                f"TFDS cannot make data set {name!r} ({first_line(error)}). Check the name.{anew}"
            ) from error
    known = [*EMBEDDED, *tfds.list_builders(with_community_datasets=False)]
    close = " or ".join(repr(match) for match in difflib.get_close_matches(str(name), known, n=3))
    raise ValueError(
        f"data set {name!r} is unknown; expected an embedded one ('digits', 'composite') or any TFDS name."
        + (f" Did you mean {close}?" if close else " See tfds.list_builders().")
    )


def data_dir():
    # Read at each call: TFDS reads the variable only once, at its import.
    return os.path.expanduser(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def features(builder):
    import tensorflow_datasets as tfds

    features = builder.info.features
    image, label = (dict(features.items()).get(key) for key in ("image", "label"))
    if not isinstance(image, tfds.features.Image) or not isinstance(label, tfds.features.ClassLabel):
        raise ValueError(
            f"{builder.name!r} is no image classification set: its features are {', '.join(features)}; expected an "
            "image called 'image' and a class called 'label'. Choose another set, for example 'mnist'."
        )
    if image.shape[-1] not in (1, 3) or image.np_dtype != np.uint8:
        raise ValueError(
            f"{builder.name!r} has images of shape {image.shape}, {np.dtype(image.np_dtype)}; expected uint8 with "
            "1 or 3 channels. Choose another set, for example 'mnist'."
        )
    return features


def prepared(name, download):
    """TFDS's builder of a set on disk; it downloads the set if necessary."""
    builder = builder_of(name)
    features(builder)  # checked before any download
    if builder.data_path.exists() and builder.is_prepared():  # exists() first: else TFDS logs a line
        return builder

    def missing(why):
        return ValueError(
            f"data set {name!r} is not in {data_dir()} and {why}. Set TFDS_DATA_DIR to a folder that has it, or use "
            "an embedded set: 'digits' or 'composite'."
        )

    if not download:
        raise missing("download=False")
    if not _network_answers():
        raise missing("there is no network to download it")
    try:
        builder.download_and_prepare()
    except Exception as error:  # any error of TFDS, its hosts or its parsers: the student needs one line
        raise missing(f"could not be downloaded ({first_line(error)})") from error
    return builder


def damaged(builder, part):
    """The error for files that cannot be read, or hold less than they should: it names the first such file."""
    info, found = builder.info.splits[part], f"the files in {builder.data_path} cannot be read"
    for path, records in zip(info.filepaths, info.shard_lengths, strict=True):
        try:
            there = int(tf.data.TFRecordDataset(str(path)).reduce(np.int64(0), lambda n, _: n + 1))
        except tf.errors.NotFoundError:
            found = f"{path} is gone"
        except tf.errors.OpError:
            found = f"{path} is damaged"
        else:
            if there >= records:
                continue
            found = f"{path} holds {there} images"
        found += f"; expected a file of {records} images"
        break
    return ValueError(f"{found}. {anew(builder)}")


def anew(builder):
    return f"Delete the folder {builder.data_path} and load the set again: it is then prepared anew."


def first_line(error):
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
