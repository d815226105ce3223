"""Training on CUDA: a step is captured once as a graph and then replayed; several threads can train at once.

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

WARM_UP = 3  # ordinary steps before a step is captured, in which libraries and optimisers initialise themselves


def capture_step(trainer: Trainer) -> Callable[[], None]:
    """Capture a trainer's step as a CUDA graph, without making the step, and return a function that replays it.

    Call it after some ordinary steps, in the same `side_stream`. A replayed step runs no Python code, so the model's
    hooks are not called. If the step cannot be captured, there is a warning, and the trainer's own `step` is returned.
    """
    trainer.forget_gradients()
    state = trainer.generator.get_state()
    graph = torch.cuda.CUDAGraph()
    with warnings.catch_warnings():
        # From about 2.12 on, PyTorch finds the generator by itself and warns if it is registered.
        warnings.simplefilter("ignore")
        graph.register_generator_state(trainer.generator)
    try:
        # Other threads, each on its own stream, may go on meanwhile; the capture ignores them.
        stream = torch.cuda.current_stream(trainer.device)
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            trainer.step()
    except RuntimeError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        warnings.warn(f"training continues without a CUDA graph, more slowly: a step cannot be captured ({reason})")
        # A failed capture leaves its generator unusable.
        trainer.generator = torch.Generator(trainer.device)
        trainer.generator.set_state(state)
        return trainer.step
    return graph.replay


_own = threading.local()


def _stream(device: torch.device) -> torch.cuda.Stream:
    """One stream per thread: freed memory and cuBLAS workspaces are reused on their own stream only."""
    streams = vars(_own).setdefault("streams", {})
    if device not in streams:
        streams[device] = torch.cuda.Stream(device)
    return streams[device]


class Turns:
    """A lock for threads that train at once, because PyTorch's settings belong to the process.

    Replays of captured steps do not depend on the settings and run in parallel. For everything else, the threads take
    turns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holds = threading.local()
        self._stopped = threading.Event()

    def stop(self, threads: Iterable[threading.Thread]) -> None:
        """Stop the threads' training, as Ctrl-C does in the main thread, and wait until the threads end."""
        self._stopped.set()
        for thread in threads:
            thread.join()
        self._stopped.clear()

    def check(self) -> None:
        """Raise a KeyboardInterrupt if `stop` was called and this thread takes turns."""
        if self._stopped.is_set() and hasattr(self._holds, "now"):
            raise KeyboardInterrupt

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for this thread's turn, and keep it inside the ``with`` block."""
        with self._lock:
            self._holds.now = True
            try:
                yield
            finally:
                self._holds.now = False

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let other threads take their turn; does nothing if this thread does not hold the turn."""
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
    """Run the ``with`` block on a separate CUDA stream, as captures need it; on the CPU, change nothing."""
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
