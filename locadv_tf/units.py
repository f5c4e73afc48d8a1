"""How a budget is printed."""


def eps_255(eps):
    """A budget as it is printed: in grey levels of 255.

    Args:
        eps: a number in pixel units of [0, 1].

    Example:
        >>> eps_255(0.1)
        '25.5/255'
    """
    return f"{255 * eps:.4g}/255"
