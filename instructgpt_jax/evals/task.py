"""One interface for all tasks: run(model) yields named values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.meanings import Meaning, meaning


class MissingData(Exception):
  """A task has no data here. The text says what to give."""


class Value(NamedTuple):
  """A figure of a task, its 95% interval and what it is the mean of."""

  name: str  # of the metric, with its prompt where there are several
  value: float
  n: int
  low: float  # NaN, as `high`, where the interval is not known
  high: float
  per_item: np.ndarray  # [n] in the order of the data, to pair two models by
  # [draws] what it is when items are drawn again, for one that is no mean. The
  # same items are drawn for every model.
  redrawn: np.ndarray = np.zeros(0)
  known: Meaning | None = None  # None: what the name says
  shots: int | None = None  # None: those of the settings

  @property
  def means(self) -> Meaning:
    """Which way is better, and the unit."""
    return meaning(self.name) if self.known is None else self.known


def mean_value(name: str, per_item: ArrayLike) -> Value:
  """Returns the mean of one number per item, with its interval.

  Raises:
    ValueError: for no items, or values that are not finite.
  """
  items = np.asarray(per_item, np.float64).ravel()
  found = intervals.mean_interval(items)
  return Value(name, found.mean, found.n, found.low, found.high, items)


def share_value(name: str, per_item: ArrayLike) -> Value:
  """Returns the mean of figures in [0, 1], with an interval inside of it.

  Raises:
    ValueError: for no items, or values out of [0, 1].
  """
  items = np.asarray(per_item, np.float64).ravel()
  found = intervals.bounded_interval(items)
  return Value(name, found.mean, found.n, found.low, found.high, items)


class Task(Protocol):
  """A task with its data read: what is wrong with that is found before."""

  @property
  def name(self) -> str:
    """Its name in the registry and the table."""

  def run(self, model: Any) -> Iterator[Value]:
    """Yields its values; always the same names in the same order.

    Of a `Model`; those of reward models ask a `reward_model.groups.Score`.
    """


@dataclasses.dataclass(frozen=True)
class Settings:
  """What tasks are made with; each takes what it knows."""

  # Folders of files KEY.jsonl(.gz, .zst), and single files by key. A key with
  # '' is not looked for anywhere.
  folders: tuple[str, ...] = ()
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  online: bool = False  # whether sets that are not here may be fetched
  shots: int | None = 0  # None: what a task of the harness takes itself
  # Where the shots of a task come from, by key, as `files`. Where there is
  # none they are other items of the task's own data.
  shot_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  seed: int = 0  # which shots
  limit: int = 0  # the first items alone; 0 is all
  # What one task alone knows, by its name: judge, scorer, prompts, ...
  options: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
