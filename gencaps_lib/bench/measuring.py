"""The cost of a training step, the gain of each change, and the distance from the machine's limits.

One run measures the straightforward port and this library. The port transforms one image after another with Pillow in a
DataLoader, and trains with plain Adam. The library's changes are added one at a time.
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
SHOWN = 8  # how many of a step's slowest operations are shown
Repeat = Callable[[], tuple[float, int | None]]  # the seconds of a step, and the peak memory so far
STORED = Path(__file__).parent / "benchmarks"
LONGEST = 5.0  # seconds of a repeat; if a single step takes longer, it is measured once
# With PyTorch's default options; `Optimiser` would choose faster ones on CUDA.
PLAIN = Optimiser("adam", 1e-3, options={"fused": None, "capturable": False})
FUSED = Optimiser("adam", 1e-3, options={"fused": True})


@dataclass(frozen=True)
class Candidate:
    """One way to make the same training step.

    Attributes
    ----------
    name : what it is, or what it adds to the candidate before
    port : whether to use the straightforward port instead of `training.Trainer`
    optimiser : the optimiser
    channels_last : whether the model's memory format is channels-last; otherwise it is contiguous
    captured : whether the step is captured as a CUDA graph
    precision : precision of the products, as in `training.Trainer`; the port uses PyTorch's default
    autocast : whether the model runs under autocast to bfloat16; `fit` does not use this, because it changes results
    """

    name: str
    port: bool = False
    optimiser: Optimiser = PLAIN
    channels_last: bool = False
    captured: bool = False
    precision: str | None = "float32"
    autocast: bool = False


def candidates(device: str, precision: str = "float32") -> dict[str, Candidate]:
    """The candidates for a device, by name. The third from the end is the step that the library makes there.

    All but the last two make the same step: Adam at a constant rate, each image drawn once. What a profile changes (its
    optimiser and schedule, the number of draws, growth) is left out.

    `precision` is the precision with which the library trains the model there, see `Experiment.precision_on`.
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
    """What is measured, where and how often: an experiment by name, a profile, and the options of ``bench``.

    Raises
    ------
    ValueError
        The experiment or profile is unknown, or there are fewer than one thread, step or repeat.
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
    """The measured step of one candidate.

    Attributes
    ----------
    model, candidate : what was measured
    seconds : seconds of a step, the median over the repeats; `all_seconds` has the value of each repeat
    images_per_second : images per second at this median
    peak_bytes
        peak memory of tensors on the GPU; on a CPU, of the whole process, with Python and PyTorch, or None if the
        measurement had no process of its own
    """

    model: str
    candidate: str
    seconds: float
    all_seconds: list[float]
    images_per_second: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Operation:
    """One of PyTorch's operations: its calls per step, and its total seconds per step."""

    name: str
    calls: float
    seconds: float


@dataclass(frozen=True)
class Benchmark:
    """All measurements of one run, as plain data.

    `costs`, `floors` (in seconds) and `profiles` (how a step's time is spent) are by model.
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
            # A graph must not use weights that were cast before its capture.
            with torch.autocast(trainer.device.type, torch.bfloat16, cache_enabled=False):
                return objective(batch)

        trainer.objective = lower_precision
    return trainer


class Running:
    """A candidate that is set up and warmed up, so that its steps can be timed.

    Parameters
    ----------
    setup, model, name : what is measured, the model's name, and the candidate's name
    alone : whether the process does nothing else, so that its memory is the step's

    Attributes
    ----------
    steps : number of steps in a repeat
    turns : number of repeats
    """

    def __init__(self, setup: Setup, model: str, name: str, alone: bool = False) -> None:
        self.alone = alone
        self.candidate = candidates_of(setup, model)[name]
        self.trainer = _trainer(setup, model, self.candidate, 2 * WARM_UP + setup.repeats * setup.steps)
        self.advance = self.trainer.step
        self.turns = self.steps = 1
        self._seconds(1)  # the first step also initialises PyTorch and the optimiser
        slow = self._seconds(1) > LONGEST
        if not slow:
            self._seconds(WARM_UP - 2)
        if self.candidate.captured:
            with side_stream(self.trainer.device):
                self.advance = capture_step(self.trainer)
        if self.trainer.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.trainer.device)  # the steps before were made in another way
        if not slow:
            # The rest of the warm-up shows how many steps fit in a repeat.
            self.steps = min(setup.steps, max(1, int(LONGEST / self._seconds(WARM_UP))))
            self.turns = setup.repeats

    def _seconds(self, steps: int) -> float:
        with side_stream(self.trainer.device):
            return seconds_of(self.advance, self.trainer.device, steps)

    def repeat(self) -> tuple[float, int | None]:
        """Make one repeat: the mean seconds of a step, and the peak memory so far."""
        return self._seconds(self.steps), _peak(self.trainer.device, self.alone)


_running: Running  # used in the measuring process only


def _set_up(setup: Setup, model: str, name: str) -> int:
    global _running
    _running = Running(setup, model, name, alone=True)
    return _running.turns


def _repeat() -> tuple[float, int | None]:
    return _running.repeat()


@contextmanager
def _elsewhere(setup: Setup, model: str, name: str) -> Iterator[tuple[int, Repeat]]:
    """The ``turns`` and the ``repeat`` of a `Running` in a separate process."""
    with _fresh_process(setup.threads) as pool:
        turns = pool.submit(_set_up, setup, model, name).result()
        yield turns, lambda: pool.submit(_repeat).result()


def _here(setup: Setup, model: str, name: str) -> tuple[int, Repeat]:
    running = Running(setup, model, name)
    return running.turns, running.repeat


def measure(setup: Setup, model: str, names: Sequence[str], fresh: bool = True) -> list[Measurement]:
    """Time candidates' steps in turns, so that a machine that slows down affects all of them.

    A candidate whose single step takes longer than `LONGEST` gets only one turn. For ``fresh`` see `run`.
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
    """The smallest amount of work of a model's step."""
    return step_cost(_trainer(setup, model, Candidate("", optimiser=FUSED), 2))


def profile(setup: Setup, model: str) -> list[Operation]:
    """The operations of the library's step, without a captured graph; the slowest operation first.

    An operation's time does not include operations that it calls. Profiling takes time, so the sum exceeds a step.
    """
    ours = [way for name, way in candidates_of(setup, model).items() if name.startswith("+")][-1]
    trainer = _trainer(setup, model, ours, WARM_UP + setup.steps)
    for _ in range(WARM_UP):
        trainer.step()
    on_cuda = trainer.device.type == "cuda"
    # Otherwise the profiler prints messages, also in a chapter, when it starts and when it finds no GPU.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    watched = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    # There is only one cycle, so `acc_events` changes nothing, but without it PyTorch 2.11 warns.
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
        # Leave out rows of CUDA kernels, and rows of whole calls of the optimiser.
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
    fresh : make each measurement in a new process, without warm caches or memory in use

    Raises
    ------
    ValueError
        The experiment does not have one of the models, or the port cannot make the transform; this is checked before
        anything is measured.
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
    """Read a file that ``bench --out`` wrote.

    Raises
    ------
    ResultError
        The file does not exist, or is another kind of file.
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
        raise ResultError(f"{path} is not a file of bench --out: measure again") from None


def stored() -> list[Benchmark]:
    """The benchmarks at the article's sizes that are stored with the library, one for each machine."""
    return [read(path) for path in sorted(STORED.glob("*.json"))]


def port_and_ours(benchmark: Benchmark, model: str) -> tuple[Measurement, Measurement]:
    """The measurements of a model's step in the port, and in the library with all its changes."""
    rows = [row for row in benchmark.measurements if row.model == model]
    return rows[0], [row for row in rows if row.candidate.startswith("+")][-1]


def table(benchmark: Benchmark) -> str:
    """The measurements as text."""
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
