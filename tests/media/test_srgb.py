"""Tests of the sRGB transfer function."""

import numpy as np
import pytest

from deblurlab.media.srgb import linear_to_srgb, srgb_to_linear


@pytest.mark.parametrize(
    ("srgb", "linear"),
    [
        (0.0, 0.0),
        (0.02, 0.02 / 12.92),
        (0.04045, 0.04045 / 12.92),
        (0.5, ((0.5 + 0.055) / 1.055) ** 2.4),
        (1.0, 1.0),
    ],
)
def test_values_of_iec_61966_2_1(srgb: float, linear: float) -> None:
    assert srgb_to_linear(np.array(srgb)) == pytest.approx(linear, abs=1e-15)


def test_linear_to_srgb_inverts_srgb_to_linear() -> None:
    srgb = np.linspace(0, 1, 4096)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(srgb)), srgb, atol=1e-7)
