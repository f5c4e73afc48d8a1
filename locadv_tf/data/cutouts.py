"""Objects cut out of photographs, their old places filled, and the objects put before another background.

All works on one image, uint8 `(H, W, 3)`, and on the object's share of each pixel, float32 `(H, W, 1)` in [0, 1], which
drawn masks have at the images' size.
"""

import cv2
import numpy as np

FILLS = ("inpaint", "tiles")
MARGIN = 0.04  # of the image's shorter side: an outline is roughly drawn, so its surroundings are filled, too
LITTLE = 1e-3  # what the mean over an area may be beside 0 and 1: rounding
REACH = 3  # pixels around a hole that OpenCV's inpainting looks at


def filled(image, share, *, how="inpaint"):
    """The background without the object: its place, and a margin around it, filled from the rest of the image.

    Args:
        image: uint8 `(H, W, 3)`.
        share: the object's share of each pixel, float32 `(H, W, 1)`.
        how: `"inpaint"` (Bertalmio, Bertozzi and Sapiro 2001, OpenCV's; one colour stays exactly that colour), or
            `"tiles"` (Xiao et al. 2021: the hole's bounding box is covered with copies of the largest rectangle beside
            it; if the box has nothing beside it, inpainted).

    Returns:
        uint8 `(H, W, 3)`: the image itself outside the hole. Where the hole is everything, mid-grey.

    Example:
        >>> image = np.full((8, 8, 3), 100, np.uint8)
        >>> share = np.zeros((8, 8, 1), np.float32)
        >>> image[3:5, 3:5], share[3:5, 3:5] = 255, 1
        >>> bool((filled(image, share) == 100).all())
        True
    """
    place = hole(share)
    if place.all():
        return np.full_like(image, 128)
    if how == "tiles" and (tiled := _tiled(image, place)) is not None:
        return tiled
    blank = image.copy()
    blank[place] = np.rint(image[~place].mean(axis=0))  # OpenCV's inpainting looks at what it replaces: a rest of it
    return cv2.inpaint(blank, place.astype(np.uint8), REACH, cv2.INPAINT_NS)


def hole(share):
    """What is filled, bool `(H, W)`: all pixels that hold a part of the object, and a margin around them."""
    margin = max(1, round(MARGIN * min(share.shape[:2])))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    return cv2.dilate((share[..., 0] > LITTLE).astype(np.uint8), disc) > 0


def box(place):
    """The rows and columns of a hole's bounding box, as two slices; empty for no hole."""
    rows, columns = (np.flatnonzero(place.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0, 0), slice(0, 0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _tiled(image, place):
    """The image with copies of the largest rectangle beside the hole's box in it, or None: nothing is beside it."""
    rows, columns = box(place)
    beside = [image[: rows.start], image[rows.stop :], image[:, : columns.start], image[:, columns.stop :]]
    largest = max(beside, key=lambda part: part.shape[0] * part.shape[1])
    if not largest.size:
        return None
    height, width = rows.stop - rows.start, columns.stop - columns.start
    copies = (-(-height // largest.shape[0]), -(-width // largest.shape[1]), 1)
    tiled = image.copy()
    tiled[rows, columns] = np.tile(largest, copies)[:height, :width]
    return tiled


def cut(image, share):
    """The object's colours, carried on outwards from its whole pixels: uint8 `(H, W, 3)`.

    A pixel on the edge shows object and old background mixed. Blended as it is, it would leave a rim of the old
    background. So it takes the colours of the object's whole pixels beside it. Where the share is 1 the image stays.
    """
    whole = share[..., 0] >= 1 - LITTLE
    if whole.all() or not whole.any():
        return image
    nearest = cv2.distanceTransformWithLabels(
        (~whole).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )[1]
    colours = np.zeros((nearest.max() + 1, image.shape[-1]), np.uint8)
    colours[nearest[whole]] = image[whole]
    return colours[nearest]


def before(colours, share, background):
    """The object before a background: `share · colours + (1 − share) · background`, uint8, for one image or many."""
    return np.rint(share * colours + (1 - share) * background).astype(np.uint8)
