"""The budget where none is asked for."""

import numpy as np
import pytest

import locadv_tf as la


@pytest.mark.parametrize("lead", [(), (5,)])
def test_grey_and_colour_have_their_own_default(lead):
    assert la.default_eps(np.zeros((*lead, 8, 8, 1))) == 0.1
    assert la.default_eps(np.zeros((*lead, 8, 8, 3))) == 4 / 255


@pytest.mark.parametrize("images", [np.zeros((8, 8)), np.zeros((2, 3, 8, 8)), 3, None])
def test_anything_else_is_refused(images):
    with pytest.raises(ValueError, match=r"images has shape \(.*\); expected \(N, H, W, C\)"):
        la.default_eps(images)
