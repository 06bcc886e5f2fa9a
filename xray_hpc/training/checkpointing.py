"""When a training's state is written, and put back."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NoReturn

import keras

from xray_hpc.config.run_config import CheckpointConfig
from xray_hpc.training import signals
from xray_hpc.training.callbacks import Keep, Logs
from xray_hpc.training.checkpoint import Position, State, StateFiles
from xray_hpc.training.state import capture, restore, restore_metrics


class Checkpointing(keras.callbacks.Callback):
    """Write the training's state now and then, and begin with that of an earlier process.

    It is copied between two steps and written while the next ones go on; a new one is not begun
    before the last one is in place. At a signal, and after the last epoch, training waits for it.

    It goes last: the callbacks before it forget what they know as training begins. It is a context
    manager, which ends what it has started.

    Args:
        files: where the states are kept.
        every: how often.
        keep: the callback that holds the best weights.
        others: those before this one.
        state: what to begin with; ``None`` begins anew.
        clock: gives the seconds that the training has taken.
        epochs, steps: how many there are, of steps in an epoch.
    """

    def __init__(
        self,
        files: StateFiles,
        every: CheckpointConfig,
        *,
        keep: Keep,
        others: Sequence[keras.callbacks.Callback],
        state: State | None,
        clock: Callable[[], float],
        epochs: int,
        steps: int,
    ) -> None:
        super().__init__()
        self.files = files
        self.every = every
        self.keep = keep
        self.others = others
        self.state = state
        self.clock = clock
        self.epochs = epochs
        self.steps = steps
        self.position = state.position if state else Position(0, 0)
        self._since, self._last = 0, time.monotonic()
        self._unsaved = False
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self._begun: Position | None = None

    def __enter__(self) -> Checkpointing:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.shutdown()
        self._let_go()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        if self.state is not None:
            self.keep.weights = restore(self.state, self.model, self.others)
            if not self.position.step:
                self.state = None  # its arrays are as large as the model
        self._last = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.state is not None:
            restore_metrics(self.state, self.model)
            self.state = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if not self._unsaved:
            signals.UNSAVED.acquire()
            self._unsaved = True
        # An earlier process may have done the first steps of the epoch.
        self._since += batch + 1 - self.position.step
        self.position = Position(self.position.epoch, batch + 1)
        self.look()

    def most_steps(self) -> int:
        """How many steps there may be before a state is to be written by their number."""
        return sys.maxsize if self.every.steps is None else max(self.every.steps - self._since, 1)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.position = Position(epoch + 1, 0)
        if self.model.stop_training or epoch + 1 == self.epochs:
            self._write()
            self._let_go()
        else:
            self.look()

    def look(self) -> None:
        """Write a state if it is time to; to be called where none of it is being changed."""
        if self._unsaved and signals.told():
            self._leave()
        elif self._due() and self._idle():
            self._begin()

    def _due(self) -> bool:
        every = self.every
        return self.position != self._begun and (
            (every.steps is not None and self._since >= every.steps)
            or (every.seconds is not None and time.monotonic() - self._last >= every.seconds)
        )

    def _idle(self) -> bool:
        """Whether no state is being written; raise what went wrong with the last one."""
        if self._writing is None:
            return True
        if not self._writing.done():
            return False
        self._writing.result()
        return True

    def _begin(self) -> None:
        """Have the state written, behind the one that is being written."""
        state = capture(
            self.model, self.others, self.keep.weights, position=self.position, seconds=self.clock()
        )
        self._writing, self._begun = self._writer.submit(self.files.write, state), self.position
        self._since, self._last = 0, time.monotonic()

    def _write(self) -> None:
        """Write the state, and wait until it is in place."""
        if self.position != self._begun:
            self._begin()
        assert self._writing is not None
        self._writing.result()

    def _leave(self) -> NoReturn:
        """Write the state and end the process, as it was told to."""
        done = self.position.words(self.epochs, self.steps)
        try:
            self._write()
        except OSError as error:
            lost = f"told to end; {done} is done, but its checkpoint cannot be written: {error}"
            print(f"error: {lost}; what came after the last one is lost", file=sys.stderr)
        else:
            print(f"told to end; {done} is done, and its checkpoint is in place", flush=True)
        self._unsaved = False
        signals.end()

    def _let_go(self) -> None:
        if self._unsaved:
            self._unsaved = False
            signals.UNSAVED.release()
