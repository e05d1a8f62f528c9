"""Inputs of the sets of tokens."""

import numpy as np

from flows.models import calibration
from flows.models.calibration import SENTENCES, inputs_of


def test_inputs_of_the_three_sets_are_different():
    class Text:
        pass

    fit, hold, judge, other = (set(part) for part in calibration._inputs_of_sets(Text()))
    assert other == set(SENTENCES) == set(inputs_of(Text()))
    assert not other & (fit | hold | judge)
    assert fit
    assert hold
    assert judge
    assert not fit & hold
    assert not fit & judge
    assert not hold & judge
    photo = np.arange(3 * 28 * 28, dtype=np.float32).reshape(3, 28, 28)
    views = calibration._views(photo)
    assert len(views) == 11
    assert {view.shape for view in views} == {(3, 28, 28)}
