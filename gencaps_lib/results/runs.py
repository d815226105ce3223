"""One run: build, train and test a model, and make its result."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from gencaps_lib.data import Digits
from gencaps_lib.evaluation import Curve
from gencaps_lib.experiments import DRAWS, Experiment
from gencaps_lib.models import Autoencoder
from gencaps_lib.results.attachments import extras
from gencaps_lib.results.fingerprints import configuration, fingerprint, plain
from gencaps_lib.results.provenance import machine
from gencaps_lib.results.record import Result, check_seed, thinned, write
from gencaps_lib.routing import NotANumberError
from gencaps_lib.tasks import Task
from gencaps_lib.training import Checkpoint, fit, precision_context


def run(
    experiment: Experiment,
    model: str,
    train: Digits,
    test: Digits,
    seed: int = 0,
    progress: bool = True,
    partial: bool = True,
    checkpoint: Checkpoint | None = None,
) -> tuple[Result, nn.Module]:
    """Build, train and test one model of an experiment, on the device of the digits.

    Parameters
    ----------
    experiment, model : an experiment at a profile, and the name of one of its models
    train, test : the digits; the experiment defines how many of the test digits are used
    seed : seed of the weights and the batches
    progress : show a bar while training
    partial : test the model even if the training was interrupted
    checkpoint : keeps the training while it is under way, see `training.fit`

    Returns
    -------
    the result, and the trained model. After an interrupted training the result is not ``complete``.

    A Ctrl-C while the trained model is being tested is put off until the test is done; a second one ends it at once.

    Raises
    ------
    TypeError
        The experiment holds something that cannot be kept with a result.
    ValueError
        Training and test digits are of different data sets, a held-out digit is not among them, or the seed is negative
        or no whole number.
    NotANumberError
        The trained model's error is not finite.
    KeyboardInterrupt
        The training was interrupted, and `partial` is false.
    """
    return _run(experiment, model, train, test, seed, progress, partial, checkpoint)[:2]


def _run(
    experiment: Experiment,
    model: str,
    train: Digits,
    test: Digits,
    seed: int,
    progress: bool,
    partial: bool,
    checkpoint: Checkpoint | None,
) -> tuple[Result, nn.Module, bool]:
    """`run`, and whether its test was interrupted."""
    if train.source != test.source:
        raise ValueError(f"these are {train.source} and {test.source} digits: load both splits from one source")
    seed, task = check_seed(seed), experiment.task
    # All that may be wrong with what was given, before the training: afterwards it would be lost.
    config, mark = configuration(experiment, model), fingerprint(experiment, model, seed)
    kind, judged = experiment.kind(model), experiment.judged(test)
    for which, digits in (("test", judged), ("training", train)):
        if absent := set(task.held_out) - set(digits.labels.tolist()):
            raise ValueError(f"of the held-out digits {', '.join(map(str, sorted(absent)))} there is no {which} image")
    built = experiment.build(model, seed)
    if kind.judge is DRAWS.judge and not isinstance(built, Autoencoder):
        raise TypeError(f"a model that draws must be a models.Autoencoder; {model} is a {type(built).__name__}")
    built = built.to(train.images.device).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    options = experiment.fit_options(train.images.device, model)
    history = fit(
        built,
        task,
        train.of(*task.digits),
        experiment.steps,
        seed,
        progress=progress,
        checkpoint=checkpoint,
        **options,
    )
    seconds, sittings = time.perf_counter() - start, 1
    if checkpoint is not None:
        seconds, sittings = checkpoint.seconds, checkpoint.sittings
    if len(history) < experiment.steps and not partial:
        raise KeyboardInterrupt
    with _finishing() as interrupted, precision_context("float32", train.images.device):
        curves, images = kind.judge(built, task, judged)
        learned = plain(kind.learned(built, task, judged))
    _check_finite(curves, task)
    result = Result(
        experiment=experiment.name,
        model=model,
        seed=seed,
        profile=experiment.profile,
        source=train.source,
        config=config,
        unit=task.transform.unit,
        grid=list(task.grid),
        curves=curves,
        images=images,
        history=thinned(history, experiment.steps),
        seconds=seconds,
        machine=machine(train.images.device)
        | {"precision": options["precision"]}
        | ({"sittings": str(sittings)} if sittings > 1 else {}),
        fingerprint=mark,
        learned=learned,
    )
    return result, built, bool(interrupted)


def _check_finite(curves: Curve, task: Task) -> None:
    """Raise a NotANumberError if a model's error is not finite: it could not be kept."""
    for digit, errors in curves.items():
        for point, error in zip(task.grid, errors, strict=True):
            if not math.isfinite(error):
                raise NotANumberError(
                    f"the error of '{digit}' at {point:g} {task.transform.unit} is {error}: the trained model draws no "
                    "finite picture there"
                )


@contextmanager
def _finishing() -> Iterator[list[int]]:
    """Put off a first Ctrl-C until the block is done, and say so. The list is empty if there was none."""
    caught: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    # Elsewhere signals do not arrive; another handler has its own way.
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield caught
        return

    def put_off(number: int, frame: object) -> None:
        caught.append(number)
        signal.signal(signal.SIGINT, before)
        warnings.warn("the test of the trained model goes on, then it stops; Ctrl-C again gives it up", stacklevel=2)

    signal.signal(signal.SIGINT, put_off)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


class Made(NamedTuple):
    """A finished run: its result, the content of its other files by suffix, and the total seconds."""

    result: Result  #: what the run measured
    extras: Mapping[str, bytes]  #: suffix → content of the result's other files
    seconds: float  #: of training and testing together
    interrupted: bool = False  #: Ctrl-C was put off until the test was done

    def write(self, folder: str | os.PathLike, force: bool = False) -> Path:
        """Write all files to a folder of results, see `record.write`."""
        return write(self.result, folder, force, self.extras)


def make(
    experiment: Experiment,
    model: str,
    train: Digits,
    test: Digits,
    seed: int = 0,
    progress: bool = True,
    partial: bool = True,
    checkpoint: Checkpoint | None = None,
) -> Made:
    """Make a `run` and its other files; takes the arguments of `run`, and raises what it raises."""
    start = time.perf_counter()
    result, built, interrupted = _run(experiment, model, train, test, seed, progress, partial, checkpoint)
    others = extras(experiment, model, built, test, seed)
    earlier = 0 if checkpoint is None else checkpoint.earlier
    return Made(result, others, earlier + time.perf_counter() - start, interrupted)
