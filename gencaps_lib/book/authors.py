"""The measurements of the article's authors: mean squared errors on MNIST's test digits, one run each, 100,000 steps.

This is our summary of their public records (singnet/semantic-vision, experiments/invariance, 2018–2019); facts, not
code. Points in and out of the range: shift transfer, up to ±4 and from ±8 on; rotation transfer, ≤ 45° and > 45°; one
shot, 18° ± 2° and beyond 45°; rotation beyond the range, ≤ 90° and > 90°. Points within 1° of multiples of 90° are left
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Measured:
    """The errors of one run of the authors.

    Attributes
    ----------
    four_in, four_out : error of '4' in and out of its training range
    nine_out : error of '9' out of its range
    others_out : error of the other digits at the same points
    """

    four_in: float
    four_out: float
    nine_out: float
    others_out: float

    @property
    def ratio(self) -> float:
        """Error of '4' out of its range ÷ error in its range."""
        return self.four_out / self.four_in


# Experiment and model → the authors' measurements. Their records have no others.
AUTHORS: Mapping[tuple[str, str], Measured] = MappingProxyType(
    {
        ("shift-transfer", "autoencoder"): Measured(0.0068, 0.0281, 0.0158, 0.0086),
        ("shift-transfer", "continuous-capsules"): Measured(0.0099, 0.0106, 0.0088, 0.0114),
        ("shift-transfer", "digit-capsules"): Measured(0.0058, 0.0112, 0.0071, 0.0078),
        ("rotation-transfer", "adversarial-autoencoder"): Measured(0.0451, 0.0969, 0.0658, 0.0490),
        ("rotation-transfer", "autoencoder"): Measured(0.0270, 0.0745, 0.0427, 0.0284),
        ("rotation-transfer", "digit-capsules"): Measured(0.0210, 0.0537, 0.0264, 0.0218),
        ("rotation-long-code", "autoencoder-z10"): Measured(0.0270, 0.0745, 0.0427, 0.0284),
        ("rotation-long-code", "autoencoder-z128"): Measured(0.0071, 0.0106, 0.0078, 0.0077),
        ("rotation-one-shot", "autoencoder"): Measured(0.0148, 0.0808, 0.0325, 0.0152),
        ("rotation-one-shot", "continuous-capsules"): Measured(0.0196, 0.0561, 0.0334, 0.0238),
        ("rotation-extrapolation", "autoencoder"): Measured(0.0272, 0.2813, 0.2558, 0.2956),
    }
)
