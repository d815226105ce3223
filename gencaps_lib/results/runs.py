"""One run: build, train and test a model, and make its result."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from gencaps_lib.data import Digits
from gencaps_lib.experiments import Experiment
from gencaps_lib.results.attachments import extras
from gencaps_lib.results.fingerprints import configuration, fingerprint
from gencaps_lib.results.provenance import machine
from gencaps_lib.results.record import Result, thinned, write
from gencaps_lib.training import fit, precision_context


def run(
    experiment: Experiment,
    model: str,
    train: Digits,
    test: Digits,
    seed: int = 0,
    progress: bool = True,
    partial: bool = True,
) -> tuple[Result, nn.Module]:
    """Build, train and test one model of an experiment, on the device of the digits.

    Parameters
    ----------
    experiment, model : an experiment at a profile, and the name of one of its models
    train, test : the digits; the experiment defines how many of the test digits are used
    seed : seed of the weights and the batches
    progress : show a bar while training
    partial : test the model even if the training was interrupted

    Returns
    -------
    the result, and the trained model. After an interrupted training the result is not ``complete``.

    Raises
    ------
    ValueError
        Training and test digits are of different data sets.
    KeyboardInterrupt
        The training was interrupted, and `partial` is false.
    """
    if train.source != test.source:
        raise ValueError(f"these are {train.source} and {test.source} digits: load both splits from one source")
    task = experiment.task
    built = experiment.build(model, seed).to(train.images.device).to(memory_format=torch.channels_last)
    start = time.perf_counter()
    options = experiment.fit_options(train.images.device, model)
    history = fit(built, task, train.of(*task.digits), experiment.steps, seed, progress=progress, **options)
    seconds = time.perf_counter() - start
    if len(history) < experiment.steps and not partial:
        raise KeyboardInterrupt
    with precision_context("float32", train.images.device):
        kind, judged = experiment.kind(model), experiment.judged(test)
        curves, images = kind.judge(built, task, judged)
        learned = kind.learned(built, task, judged)
    result = Result(
        experiment=experiment.name,
        model=model,
        seed=seed,
        profile=experiment.profile,
        source=train.source,
        config=configuration(experiment, model),
        unit=task.transform.unit,
        grid=list(task.grid),
        curves=curves,
        images=images,
        history=thinned(history, experiment.steps),
        seconds=seconds,
        machine=machine(train.images.device) | {"precision": options["precision"]},
        fingerprint=fingerprint(experiment, model, seed),
        learned=learned,
    )
    return result, built


class Made(NamedTuple):
    """A finished run: its result, the content of its other files by suffix, and the total seconds."""

    result: Result  #: what the run measured
    extras: Mapping[str, bytes]  #: suffix → content of the result's other files
    seconds: float  #: of training and testing together

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
) -> Made:
    """Make a `run` and its other files; takes the arguments of `run`, and raises what it raises."""
    start = time.perf_counter()
    result, built = run(experiment, model, train, test, seed, progress, partial)
    return Made(result, extras(experiment, model, built, test, seed), time.perf_counter() - start)
