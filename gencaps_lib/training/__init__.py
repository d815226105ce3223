"""The training loop, its optimisers, precision, and CUDA graphs."""

from gencaps_lib.training.capture import WARM_UP, capture_step, side_stream, turns
from gencaps_lib.training.checkpoints import Checkpoint, CheckpointError
from gencaps_lib.training.loop import NONE_FASTER, SMALLEST_REACH, DivergedError, Trainer, fit, reconstruction_loss
from gencaps_lib.training.optimisers import REFERENCE, Optimiser, ReferenceRMSprop, read_only
from gencaps_lib.training.precision import PRECISIONS, check_precision, precision_context, rounded

__all__ = [
    "NONE_FASTER",
    "PRECISIONS",
    "REFERENCE",
    "SMALLEST_REACH",
    "WARM_UP",
    "Checkpoint",
    "CheckpointError",
    "DivergedError",
    "Optimiser",
    "ReferenceRMSprop",
    "Trainer",
    "capture_step",
    "check_precision",
    "fit",
    "precision_context",
    "read_only",
    "reconstruction_loss",
    "rounded",
    "side_stream",
    "turns",
]
