"""SIGTERM and Ctrl-C become a question the training loop asks."""

from __future__ import annotations

import signal
import threading
from typing import Any

import jax
from jax.experimental import multihost_utils


class TrainingInterrupted(SystemExit):
  """SIGTERM or Ctrl-C came; everything is saved. Exits with its message."""


class Interrupts:
  """Within `with`, notes SIGTERM and Ctrl-C instead of ending the process.

  A second signal ends the process at once. With several processes the notice
  of one must stop all at the same step: JAX agrees on it, and its own handlers
  stay in place.
  """

  def __init__(self) -> None:
    self._asked = False
    self._before: dict[int, Any] = {}
    self._shared = jax.process_count() > 1

  def asked(self, step: int) -> bool:
    """Returns True, in every process alike, if this step is to be the last."""
    if self._shared:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._asked

  def _handle(self, signum: int, frame: Any) -> None:
    del signum, frame
    self._asked = True
    self._restore()

  def _restore(self) -> None:
    while self._before:
      signal.signal(*self._before.popitem())

  def __enter__(self) -> Interrupts:
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and not self._shared:  # Python sets handlers there only
      for number in (signal.SIGTERM, signal.SIGINT):
        self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: Any) -> None:
    self._restore()
