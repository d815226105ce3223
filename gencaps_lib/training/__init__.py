"""One training loop, its optimisers, and what CUDA adds."""

from gencaps_lib.training.capture import WARM_UP, capture_step, side_stream, turns
from gencaps_lib.training.loop import SMALLEST_REACH, DivergedError, Trainer, fit, reconstruction_loss
from gencaps_lib.training.optimisers import REFERENCE, Optimiser, ReferenceRMSprop, read_only
from gencaps_lib.training.precision import PRECISIONS, check_precision, products, rounded

__all__ = [
    "PRECISIONS",
    "REFERENCE",
    "SMALLEST_REACH",
    "WARM_UP",
    "DivergedError",
    "Optimiser",
    "ReferenceRMSprop",
    "Trainer",
    "capture_step",
    "check_precision",
    "fit",
    "products",
    "read_only",
    "reconstruction_loss",
    "rounded",
    "side_stream",
    "turns",
]
