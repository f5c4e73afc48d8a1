"""Budgets: how one is printed, and how large it is where nobody chose."""


def eps_255(eps):
    """A budget as it is printed: in grey levels of 255.

    Args:
        eps: a number in pixel units of [0, 1].

    Example:
        >>> eps_255(0.1)
        '25.5/255'
    """
    return f"{255 * eps:.4g}/255"


def default_eps(images):
    """The budget that the kit takes where none is asked for: 0.1 for grey images, 4/255 for colour.

    Args:
        images: `(N, H, W, C)` or `(H, W, C)`, an array or a tensor; C is 1 or 3.

    Returns:
        A number in pixel units of [0, 1].

    Raises:
        ValueError: for images of another number of channels.

    Example:
        >>> import numpy as np
        >>> eps_255(default_eps(np.zeros((2, 28, 28, 1)))), eps_255(default_eps(np.zeros((32, 32, 3))))
        ('25.5/255', '4/255')
    """
    shape = tuple(getattr(images, "shape", ()))
    if len(shape) not in (3, 4) or shape[-1] not in (1, 3):
        raise ValueError(f"images has shape {shape}; expected (N, H, W, C) or (H, W, C) with 1 or 3 channels C.")
    return 0.1 if shape[-1] == 1 else 4 / 255
