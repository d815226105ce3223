"""What a training step costs, what each change bought, and how far it is from what the machine allows.

Side by side in one run: the straightforward port, which transforms image by image with Pillow behind a DataLoader and
trains with plain Adam, and what this library does instead, a change at a time.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity
from tqdm.auto import tqdm

from gencaps_lib.bench.costs import Cost, Rates, RoutingCost, machine_rates, routing_costs, step_cost
from gencaps_lib.bench.naive import Port, mover
from gencaps_lib.data import load_digits
from gencaps_lib.experiments import EXPERIMENTS, Experiment, check_profile, named
from gencaps_lib.results import ResultError, machine, seconds_of
from gencaps_lib.tables import lines
from gencaps_lib.tasks import Batch
from gencaps_lib.training import REFERENCE, WARM_UP, Optimiser, Trainer, capture_step, side_stream

MODELS = ("autoencoder", "continuous-capsules")
SHOWN = 8  # of a step's operations, the slowest
Repeat = Callable[[], tuple[float, int | None]]  # the seconds of a step, and the memory taken so far
STORED = Path(__file__).parent / "benchmarks"
LONGEST = 5.0  # seconds that a repeat is to take; where a single step takes more, one of them has to do
# As torch makes it for who says no more than its name; `Optimiser` would make it faster on CUDA.
PLAIN = Optimiser("adam", 1e-3, options={"fused": None, "capturable": False})
FUSED = Optimiser("adam", 1e-3, options={"fused": True})


@dataclass(frozen=True)
class Candidate:
    """A way of making the same step.

    Attributes
    ----------
    name : what it is, or what it adds to the one before
    port : the straightforward port, and not `training.Trainer`
    optimiser : how to optimise
    channels_last : the memory format of the model, otherwise contiguous
    captured : as a CUDA graph
    precision : of the products, as in `training.Trainer`; the port leaves it to PyTorch
    autocast : the model under autocast to bfloat16, which `fit` does not use: it changes results
    """

    name: str
    port: bool = False
    optimiser: Optimiser = PLAIN
    channels_last: bool = False
    captured: bool = False
    precision: str | None = "float32"
    autocast: bool = False


def candidates(device: str, precision: str = "float32") -> dict[str, Candidate]:
    """What is measured on a device, by name; the one before the last two is how the library trains there.

    `precision` is what it trains the model with there, see `Experiment.precision_on`.
    """
    fused = Candidate("+ fused optimiser", optimiser=FUSED)
    ours = [fused, replace(fused, name="+ channels-last", channels_last=True)]
    if torch.device(device).type == "cuda":
        ours.append(replace(ours[-1], name="+ captured graph", captured=True))
        if precision == "tf32":
            ours.append(replace(ours[-1], name="+ TF32", precision="tf32"))
    ways = (
        Candidate("straightforward port", port=True, precision=None),
        Candidate("+ data resident, batched transforms"),
        *ours,
        replace(ours[-1], name="the same with the reference's RMSProp", optimiser=REFERENCE),
        replace(ours[-1], name="the same under bf16 autocast (not used)", autocast=True),
    )
    return {way.name: way for way in ways}


@dataclass(frozen=True)
class Setup:
    """What is measured: an experiment by name at a profile, and where and how often; see `add_arguments`.

    Raises
    ------
    ValueError
        An unknown experiment or profile, or fewer than one thread, step or repeat.
    """

    experiment: str
    profile: str
    source: str
    data: str | None = None
    device: str = "cpu"
    threads: int = 1
    steps: int = 20
    repeats: int = 5

    def __post_init__(self) -> None:
        named(self.experiment)
        check_profile(self.profile)
        for name in ("threads", "steps", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")

    @property
    def at_profile(self) -> Experiment:
        """The experiment that is measured."""
        return EXPERIMENTS[self.experiment].at(self.profile)


def candidates_of(setup: Setup, model: str) -> dict[str, Candidate]:
    """The `candidates` for a model."""
    return candidates(setup.device, setup.at_profile.precision_on(torch.device(setup.device), model))


@dataclass(frozen=True)
class Measurement:
    """One candidate's step.

    Attributes
    ----------
    model, candidate : what was measured
    seconds : of a step, the median over the repeats; `all_seconds` has each
    images_per_second : at that time
    peak_bytes : the most memory that tensors took on the GPU; on a CPU, that the whole process took, Python and PyTorch
        included, and None where it was not a process of its own
    """

    model: str
    candidate: str
    seconds: float
    all_seconds: list[float]
    images_per_second: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Operation:
    """One of PyTorch's operations: how often a step calls it, and the seconds that it takes there in all."""

    name: str
    calls: float
    seconds: float


@dataclass(frozen=True)
class Benchmark:
    """Everything that was measured in one run, as plain data.

    `costs`, `floors`, in seconds, and `profiles`, where the time of a step goes, are by model.
    """

    setup: Setup
    batch: int
    machine: dict[str, Any]
    rates: Rates
    costs: dict[str, Cost]
    floors: dict[str, float]
    measurements: list[Measurement]
    profiles: dict[str, list[Operation]]
    routing: list[RoutingCost]


def _trainer(setup: Setup, model: str, candidate: Candidate, steps: int) -> Trainer:
    experiment = setup.at_profile
    layout = torch.channels_last if candidate.channels_last else torch.contiguous_format
    built = experiment.build(model).to(setup.device).to(memory_format=layout).train()
    digits = load_digits("train", setup.source, root=setup.data).of(*experiment.task.digits)
    options: dict[str, Any] = {
        "optimiser": candidate.optimiser,
        "batch": experiment.batch,
        "precision": candidate.precision,
    }
    if candidate.port:
        return Port(built, experiment.task, digits, steps, setup.device, **options)
    trainer = Trainer(built, experiment.task, digits.to(setup.device), steps, **options)
    if candidate.autocast:
        objective = trainer.objective

        def lower_precision(batch: Batch) -> tuple[Tensor, Tensor]:
            # A graph must not use weights that were cast before it.
            with torch.autocast(trainer.device.type, torch.bfloat16, cache_enabled=False):
                return objective(batch)

        trainer.objective = lower_precision
    return trainer


class Running:
    """A candidate that is set up and warm, and whose steps can be timed.

    Parameters
    ----------
    setup, model, name : what is measured, the model and the candidate by name
    alone : the process does nothing else, so that its memory is the step's

    Attributes
    ----------
    steps : in a repeat
    turns : how many repeats are to be made
    """

    def __init__(self, setup: Setup, model: str, name: str, alone: bool = False) -> None:
        self.alone = alone
        self.candidate = candidates_of(setup, model)[name]
        self.trainer = _trainer(setup, model, self.candidate, 2 * WARM_UP + setup.repeats * setup.steps)
        self.advance = self.trainer.step
        self.turns = self.steps = 1
        self._seconds(1)  # it sets up what the others find there
        slow = self._seconds(1) > LONGEST
        if not slow:
            self._seconds(WARM_UP - 2)
        if self.candidate.captured:
            with side_stream(self.trainer.device):
                self.advance = capture_step(self.trainer)
        if self.trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.trainer.device)  # the steps before were not made in this way
        if not slow:
            # The rest of the warming up says how many steps a repeat has time for.
            self.steps = min(setup.steps, max(1, int(LONGEST / self._seconds(WARM_UP))))
            self.turns = setup.repeats

    def _seconds(self, steps: int) -> float:
        with side_stream(self.trainer.device):
            return seconds_of(self.advance, self.trainer.device, steps)

    def repeat(self) -> tuple[float, int | None]:
        """The seconds of a step, over the steps of a repeat, and the memory taken so far."""
        return self._seconds(self.steps), _peak(self.trainer.device, self.alone)


_running: Running  # in a process of its own


def _set_up(setup: Setup, model: str, name: str) -> int:
    global _running
    _running = Running(setup, model, name, alone=True)
    return _running.turns


def _repeat() -> tuple[float, int | None]:
    return _running.repeat()


@contextmanager
def _elsewhere(setup: Setup, model: str, name: str) -> Iterator[tuple[int, Repeat]]:
    """The ``turns`` and the ``repeat`` of a `Running` in a process of its own."""
    with _fresh_process(setup.threads) as pool:
        turns = pool.submit(_set_up, setup, model, name).result()
        yield turns, lambda: pool.submit(_repeat).result()


def _here(setup: Setup, model: str, name: str) -> tuple[int, Repeat]:
    running = Running(setup, model, name)
    return running.turns, running.repeat


def measure(setup: Setup, model: str, names: Sequence[str], fresh: bool = True) -> list[Measurement]:
    """Time candidates' steps, in turns: a machine that grows slower meanwhile does so for all of them.

    A candidate of which a single step takes longer than `LONGEST` has one turn.

    `fresh` is that of `run`.
    """
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks: dict[str, int | None] = {}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(_elsewhere(setup, model, name)) if fresh else _here(setup, model, name)
            for name in names
        }
        for turn in range(setup.repeats):
            for name, (turns, repeat) in running.items():
                if turn < turns:
                    seconds, peaks[name] = repeat()
                    times[name].append(seconds)
    batch = setup.at_profile.batch
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    return [Measurement(model, name, medians[name], times[name], batch / medians[name], peaks[name]) for name in names]


def _peak(device: torch.device, alone: bool) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not alone or sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def count(setup: Setup, model: str) -> Cost:
    """What a model's step does at least."""
    return step_cost(_trainer(setup, model, Candidate("", optimiser=FUSED), 2))


def profile(setup: Setup, model: str) -> list[Operation]:
    """Where the time of a step goes, as the library makes it but for the captured graph: the slowest operation first.

    What an operation calls is not counted as its own. Watching takes time, too: the sum is more than a step.
    """
    ours = [way for name, way in candidates_of(setup, model).items() if name.startswith("+")][-1]
    trainer = _trainer(setup, model, ours, WARM_UP + setup.steps)
    for _ in range(WARM_UP):
        trainer.step()
    on_cuda = trainer.device.type == "cuda"
    # Else the profiler reports to the terminal, and so in a chapter, when it starts and that it found no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    # There is one cycle, so this keeps no more; without it PyTorch 2.11 warns that it drops the others.
    with torch.profiler.profile(activities=watched, acc_events=True) as record:
        for _ in range(setup.steps):
            trainer.step()
        if on_cuda:
            torch.cuda.synchronize()
    operations = [
        Operation(
            row.key.removeprefix("aten::"),
            row.count / setup.steps,
            (row.self_device_time_total if on_cuda else row.self_cpu_time_total) / 1e6 / setup.steps,
        )
        for row in record.key_averages()
        # On CUDA an operation's kernels have rows of their own, too, and whole calls of the optimiser everywhere.
        if row.device_type == DeviceType.CPU and not row.is_user_annotation
    ]
    return sorted(operations, key=lambda operation: operation.seconds, reverse=True)


def run(setup: Setup, models: Sequence[str] = MODELS, progress: bool = True, fresh: bool = True) -> Benchmark:
    """Measure every candidate for every model, and this machine's rates.

    Parameters
    ----------
    setup : what is measured, where, how often
    models : models of the experiment
    progress : show a bar
    fresh : make each measurement in a process of its own, which nothing before has warmed up, or filled with memory

    Raises
    ------
    ValueError
        A model that the experiment does not have, or a transform that the port cannot make; before anything is
        measured.
    """
    experiment = setup.at_profile
    mover(experiment.task.transform)
    for model in models:
        with torch.device("meta"):
            experiment.build(model)
    bar = tqdm(total=3 * len(models) + 2, desc="measuring", leave=False, disable=not progress)

    def call(function: Callable, *arguments) -> Any:  # noqa: ANN002
        result = _in_a_fresh_process(setup.threads, function, *arguments) if fresh else function(*arguments)
        bar.update()
        return result

    measurements = []
    with bar:
        rates = call(machine_rates, setup.device)
        costs = {model: call(count, setup, model) for model in models}
        for model in models:
            measurements += measure(setup, model, list(candidates_of(setup, model)), fresh)
            bar.update()
        profiles = {model: call(profile, setup, model) for model in models}
        routing = call(routing_costs, setup.device, experiment.batch)
    floors = {model: cost.floor(rates) for model, cost in costs.items()}
    where = machine(torch.device(setup.device))
    return Benchmark(setup, experiment.batch, where, rates, costs, floors, measurements, profiles, routing)


def _fresh_process(threads: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=torch.set_num_threads, initargs=(threads,))


def _in_a_fresh_process(threads: int, function: Callable, *arguments) -> Any:  # noqa: ANN002
    with _fresh_process(threads) as pool:
        return pool.submit(function, *arguments).result()


def read(path: str | os.PathLike) -> Benchmark:
    """Read what ``bench --out`` wrote.

    Raises
    ------
    ResultError
        The file is not there, or not such a file.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        kinds = {"setup": Setup, "rates": Rates}
        data |= {name: kind(**data[name]) for name, kind in kinds.items()}
        data["costs"] = {model: Cost(**cost) for model, cost in data["costs"].items()}
        data["measurements"] = [Measurement(**row) for row in data["measurements"]]
        data["profiles"] = {model: [Operation(**row) for row in rows] for model, rows in data["profiles"].items()}
        data["routing"] = [RoutingCost(**row) for row in data["routing"]]
        return Benchmark(**data)
    except OSError as error:
        raise ResultError(f"cannot read {path} ({error.strerror})") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ResultError(f"{path} is not what bench --out writes: measure again") from None


def stored() -> list[Benchmark]:
    """What was measured at the article's sizes and is stored with the library, a machine after the other."""
    return [read(path) for path in sorted(STORED.glob("*.json"))]


def port_and_ours(benchmark: Benchmark, model: str) -> tuple[Measurement, Measurement]:
    """A model's step as the port makes it, and as the library does, with all changes that are on top of each other."""
    rows = [row for row in benchmark.measurements if row.model == model]
    return rows[0], [row for row in rows if row.candidate.startswith("+")][-1]


def table(benchmark: Benchmark) -> str:
    """What was measured, for people."""
    setup, rates = benchmark.setup, benchmark.rates
    found = [
        f"{setup.experiment}, {setup.profile} profile, {setup.source}, batch {benchmark.batch}; "
        f"{benchmark.machine['device']}, PyTorch {benchmark.machine['torch']}",
        f"it copies at {rates.bandwidth / 1e9:,.1f} GB/s and multiplies at {rates.arithmetic / 1e9:,.0f} GFLOP/s",
    ]
    for model, cost in benchmark.costs.items():
        floor = benchmark.floors[model]
        rows = [row for row in benchmark.measurements if row.model == model]
        found += [
            "",
            f"{model}: at least {floor * 1e3:.2f} ms a step ({cost.flops / 1e9:.2f} GFLOP, {cost.bytes / 1e6:,.0f} MB)",
        ]
        cells = [("", "ms a step", "images/s", "× faster", "× floor", "peak MB")]
        for row in rows:
            numbers = (row.seconds * 1e3, rows[0].seconds / row.seconds, row.seconds / floor)
            milliseconds, faster, above = (f"{number:.2f}" for number in numbers)
            peak = "" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f}"
            cells.append((row.candidate, milliseconds, f"{row.images_per_second:,.0f}", faster, above, peak))
        found += [f"  {line}" for line in lines(cells)]
    for model, operations in benchmark.profiles.items():
        whole = sum(operation.seconds for operation in operations)
        shares = [f"{operation.name} {operation.seconds / whole:.0%}" for operation in operations[:SHOWN]]
        found += ["", f"{model}, time by operation: {', '.join(shares)}"]
    timed = [("N capsules to C maps of S×S", "routed ms", "dense ms", "dense weights")]
    for each in benchmark.routing:
        routed, dense = (f"{seconds * 1e3:.2f}" for seconds in (each.seconds, each.dense_seconds))
        timed.append((f"N {each.capsules}, S {each.size}, C {each.channels}", routed, dense, f"{each.dense_weights:,}"))
    return "\n".join([*found, "", *lines(timed)])
