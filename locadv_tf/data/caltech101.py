"""Caltech-101 with the outlines that people drew, as a TFDS set: what `locadv prepare caltech101` makes.

Fei-Fei, Fergus and Perona (2004), "Learning generative visual models from few training examples", CVPR workshop;
archives: doi 10.22002/D1.20086. Each photograph `image_0001.jpg` has its `annotation_0001.mat`, with one outline.
"""

import collections
import hashlib
import io
import os
import re
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io
import tensorflow_datasets as tfds

from locadv_tf.data import prepared

NAME = "caltech101_outlines"
RENAMED = {  # in the official archive of annotations some folders have other names than in that of the images
    "Airplanes_Side_2": "airplanes", "Faces_2": "Faces", "Faces_3": "Faces_easy", "Motorbikes_16": "Motorbikes",
}  # fmt: skip
FINER = 4  # an outline is filled at so many times the size, then averaged down
FAR = 10_000  # pixels: no outline goes so far


class Prepared(NamedTuple):
    """What `prepare` made.

    Attributes:
        path: the folder.
        sizes: numbers of images, `{"train": …, "test": …}`.
        left_out: `{file: why}`, the photographs without a usable outline.
    """

    path: str
    sizes: dict
    left_out: dict


def prepare(images, annotations, *, categories=None, name=NAME):
    """Writes photographs and their outlines to `TFDS_DATA_DIR`, as a set that `load_data(name, image_size=…)` reads.

    Features: `image` (the JPEG files as they are), `segmentation_mask` (uint8, 1 on the object, 0 on the background),
    `label`, `file_name`. Of each category the quarter whose file names (`category/image_0001.jpg`) have the smallest
    SHA-256 is the split `test`.

    Args:
        images, annotations: a folder or an archive (.tar, .tar.gz, .zip) each: `101_ObjectCategories`, `Annotations`.
        categories: names to take; None: all that have outlines.
        name: the set's name: letters, digits and underscores.

    Returns:
        A `Prepared`.

    Raises:
        ValueError: for a name that is taken, an unknown category, no such folder or archive, a broken archive, or one
            with a member that points out of it. Nothing is left on the disk then.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or name in _taken():
        raise ValueError(f"name={name!r} is taken, or no name of a set; expected a new one, for example {NAME!r}.")
    outlines = dict(files(annotations, r"annotation_(\d+)\.mat"))
    if not outlines:
        raise ValueError(
            f"{os.fspath(annotations)!r} holds no annotation_0001.mat; expected the Annotations of Caltech-101."
        )
    there = sorted({category for category, _ in outlines}, key=str.lower)
    for category in categories or ():
        if category not in there:
            raise ValueError(f"category {category!r} is unknown; expected some of {', '.join(there)}.")
    names = sorted(set(categories or there), key=str.lower)
    photographs, left_out = {}, {}
    for (category, number), jpeg in files(images, r"image_(\d+)\.jpg"):
        if category in names:
            file_name = f"{category}/image_{number}.jpg"
            try:
                picture = decoded(jpeg)
                mask = outline_mask(outlines.get((category, number)), *picture.shape[:2])
                photographs[file_name] = (category, in_colour(jpeg, picture), cv2.imencode(".png", mask)[1].tobytes())
            except Unusable as problem:
                left_out[file_name] = str(problem)
    empty = [category for category in names if not any(name.startswith(f"{category}/") for name in photographs)]
    if empty:
        raise ValueError(
            f"{os.fspath(images)!r} holds no usable photograph of {', '.join(empty)}; expected the images of "
            "Caltech-101, category/image_0001.jpg. Name the categories that are there."
        )
    builder = _builder_class(name)(photographs=photographs, categories=names, data_dir=prepared.data_dir())
    if builder.data_path.exists():
        raise ValueError(
            f"{builder.data_path} is there already; expected a new set. Delete it, or choose another name."
        )
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    return Prepared(os.fspath(builder.data_path), sizes, left_out)


def _taken():
    return {*prepared.EMBEDDED, *tfds.list_builders(with_community_datasets=False)}


class Unusable(Exception):
    """A photograph without a usable outline; the text says why."""


def files(source, pattern):
    """The files of a folder or an archive whose names fit: `((category, number), content)`, one after the other.

    Nothing is written to the disk. The category is the name of the folder that a file is in.
    """
    source = Path(source)
    if not source.exists():
        raise ValueError(f"{os.fspath(source)!r} is not there; expected a folder or an archive (.tar, .tar.gz, .zip).")
    try:
        for name, read in _members(source):
            *folders, last = PurePosixPath(name).parts
            if folders and (match := re.fullmatch(pattern, last)):
                yield (RENAMED.get(folders[-1], folders[-1]), match[1]), read()
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise ValueError(
            f"{os.fspath(source)!r} cannot be read ({error}); expected a folder or a whole .tar, .tar.gz or .zip."
        ) from error


def _members(source):
    """`(name, read)` of each file, in order."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_file():
                yield path.relative_to(source.parent).as_posix(), path.read_bytes
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            for name in archive.namelist():
                if not name.endswith("/"):
                    yield _safe(name, source), lambda name=name: archive.read(name)
    else:
        with tarfile.open(source) as archive:
            for member in archive:
                _safe(member.name, source)
                if member.isfile():  # links and devices are no photographs
                    yield member.name, archive.extractfile(member).read


def _safe(name, source):
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise ValueError(
            f"{os.fspath(source)!r} has the member {name!r}, which points out of it; expected the official archive."
        )
    return name


def decoded(jpeg):
    """A photograph's pixels, uint8 `(H, W)` or `(H, W, 3)`, or `Unusable`."""
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED) if jpeg else None
    if picture is None:
        raise Unusable("the image cannot be read")
    return picture


def in_colour(jpeg, picture):
    """The file as it is; a grey picture is written anew in RGB, as all images of a set have equally many channels."""
    if picture.ndim == 3 and picture.shape[-1] == 3:
        return jpeg
    grey = picture if picture.ndim == 2 else picture[..., 0]
    return cv2.imencode(".jpg", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()


def outline_mask(annotation, height, width):
    """The drawn object as a mask, uint8 `(height, width, 1)`: 1 where at least half of a pixel lies in the outline.

    `obj_contour` `(2, N)` holds x and y of the outline's corners, counted from the corner of the box `box_coord`
    (top, bottom, left, right).

    Args:
        annotation: the content of a .mat file, or None.
        height, width: of the photograph.

    Raises:
        Unusable: for no file, a damaged one, or an outline that holds no pixel of the photograph.
    """
    if annotation is None:
        raise Unusable("there is no annotation")
    try:
        held = scipy.io.loadmat(io.BytesIO(annotation), variable_names=["obj_contour", "box_coord"])
        contour, box = (np.asarray(held[key], np.float64) for key in ("obj_contour", "box_coord"))
    except Exception as error:  # SciPy meets damaged files with errors of many kinds
        raise Unusable(f"the annotation cannot be read ({type(error).__name__})") from error
    if contour.ndim != 2 or contour.shape[0] != 2 or contour.shape[1] < 3 or box.size != 4:
        raise Unusable(f"the annotation holds an outline of shape {contour.shape} and a box of shape {box.shape}")
    corners = contour.T + box.ravel()[[2, 0]]
    if not np.isfinite(corners).all() or np.abs(corners).max() > FAR:
        raise Unusable("the outline leaves the image")
    fine = np.zeros((FINER * height, FINER * width), np.float32)
    corners = FINER * (corners - 1) + (FINER - 1) / 2  # MATLAB counts from 1; a pixel's middle stays its middle
    cv2.fillPoly(fine, [np.rint(corners).astype(np.int32)], 1)
    mask = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 0.5
    if not mask.any():
        raise Unusable("the outline holds no pixel of the image")
    return mask[..., None].astype(np.uint8)


def split_of(file_names):
    """The split of each file name of one category: the quarter with the smallest SHA-256 is for testing.

    Example:
        >>> sorted(split_of([f"cup/image_{i:04}.jpg" for i in range(1, 9)]).values())
        ['test', 'test', 'train', 'train', 'train', 'train', 'train', 'train']
    """
    order = sorted(file_names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return {name: "test" if i < round(len(order) / 4) else "train" for i, name in enumerate(order)}


class _Outlines(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The builder; `photographs` are its examples, `{file name: (category, JPEG, PNG of the mask)}`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First."}  # noqa: RUF012 (TFDS reads it as it is)

    def __init__(self, *, photographs, categories, **options):
        self.photographs, self.categories = photographs, categories
        super().__init__(**options)

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=self.categories),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="Caltech-101 (Fei-Fei, Fergus and Perona 2004) with the drawn outlines of its annotations.",
            homepage="https://doi.org/10.22002/D1.20086",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        by_category = collections.defaultdict(list)
        for file_name, (category, *_) in self.photographs.items():
            by_category[category].append(file_name)
        where = {}
        for file_names in by_category.values():
            where |= split_of(file_names)
        return {split: self._generate_examples([name for name in where if where[name] == split])
                for split in ("train", "test")}  # fmt: skip

    def _generate_examples(self, file_names):
        for name in sorted(file_names):
            category, jpeg, png = self.photographs[name]
            pictures = {"image": io.BytesIO(jpeg), "segmentation_mask": io.BytesIO(png)}
            yield name, pictures | {"label": category, "file_name": name}


def _builder_class(name):
    return type(name, (_Outlines,), {"name": name, "__module__": __name__}, skip_registration=True)
