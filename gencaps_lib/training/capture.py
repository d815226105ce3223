"""Training on CUDA: a step is captured once as a graph, and replayed as a whole; several models side by side.

References
----------
Nguyen, Carilli, Eryilmaz et al. (2021), "Accelerating PyTorch with CUDA Graphs".
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gencaps_lib.training.loop import Trainer

WARM_UP = 3  # steps made one kernel at a time before a step is captured: libraries and optimisers set themselves up


def capture_step(trainer: Trainer) -> Callable[[], None]:
    """Capture a trainer's step as a CUDA graph, without making it, and return what replays it.

    To be called after some steps, in the `side_stream` that they were made in. A replayed step runs no Python:
    hooks of the model are not called. Where a step cannot be captured, a warning says so, and the trainer's own `step`
    is returned.
    """
    trainer.forget_gradients()
    state = trainer.generator.get_state()
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        # From 2.12 or so on, PyTorch finds the generator by itself, and warns who names it.
        warnings.simplefilter("ignore")
        graph.register_generator_state(trainer.generator)
    try:
        # What other threads do meanwhile, each on a stream of its own, is none of this capture's business.
        stream = torch.cuda.current_stream(trainer.device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            trainer.step()
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"training goes on without a CUDA graph, slower: a step cannot be captured ({reason})")
        # A capture that broke leaves its generator unusable.
        trainer.generator = torch.Generator(trainer.device)
        trainer.generator.set_state(state)
        return trainer.step
    return graph.replay


_own = threading.local()


def _stream(device: torch.device) -> torch.cuda.Stream:
    """A thread's own: memory that was freed on a stream, and workspaces of cuBLAS, are of use on the same one only."""
    streams = vars(_own).setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
    return streams[device]


class Turns:
    """One thread at a time, but where it lets others go on: for what sets PyTorch's settings, which are the process's.

    Captured steps are replayed without regard to any setting, so threads that train at once take turns at all else.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds = threading.local()
        self._stopped = threading.Event()

    def stop(self, threads: Iterable[threading.Thread]) -> None:
        """End what threads train, as Ctrl-C does in the main thread; returns when they ended."""
        self._stopped.set()
        for thread in threads:
            thread.join()
        self._stopped.clear()

    def check(self) -> None:
        """Raise a KeyboardInterrupt in a thread that takes turns, after `stop`."""
        if self._stopped.is_set() and hasattr(self._holds, "now"):
            raise KeyboardInterrupt

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for this thread's turn, and keep it."""
        with self._lock:
            self._holds.now = True
            try:
                yield
            finally:
                self._holds.now = False

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let others take their turn; nothing to a thread that has none."""
        if not getattr(self._holds, "now", False):
            yield
            return
        self._holds.now = False
        self._lock.release()
        try:
            yield
        finally:
            self._lock.acquire()
            self._holds.now = True


turns = Turns()


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Run what is inside on a CUDA stream beside the current one, which captures need; on the CPU, as ever."""
    if device.type != "cuda":
        yield
        return
    outer, side = torch.cuda.current_stream(device), _stream(device)
    side.wait_stream(outer)
    try:
        with torch.cuda.stream(side):
            yield
    finally:
        outer.wait_stream(side)
