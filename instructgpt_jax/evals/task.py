"""One interface for all tasks: run(model) yields named values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike

from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.meanings import Meaning, meaning
from instructgpt_jax.evals.model import Model


class Value(NamedTuple):
  """A figure of a task, its 95% interval and what it is the mean of."""

  name: str  # of the metric, with its prompt where there are several
  value: float
  n: int
  low: float
  high: float
  per_item: np.ndarray  # [n] in the order of the data, to pair two models by
  known: Meaning | None = None  # None: what the name says

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
  """Returns the share of items that are 1, the others 0, by Wilson's interval.

  Raises:
    ValueError: for no items.
  """
  items = np.asarray(per_item, np.float64).ravel()
  if not items.size:
    raise ValueError(f'{name}: no items')
  found = intervals.share(float(items.mean()), items.size)
  return Value(name, found.mean, found.n, found.low, found.high, items)


class Task(Protocol):
  """A task with its data read: what is wrong with that is found before."""

  @property
  def name(self) -> str:
    """Its name in the registry and the table."""

  @property
  def needs(self) -> str:
    """The key of its data, see sources."""

  def run(self, model: Model) -> Iterator[Value]:
    """Yields its values; always the same names in the same order."""


@dataclasses.dataclass(frozen=True)
class Settings:
  """What tasks are made with; each takes what it knows."""

  # Folders of files KEY.jsonl(.gz, .zst), and single files by key. A key with
  # '' is not looked for anywhere.
  folders: tuple[str, ...] = ()
  files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  online: bool = False  # whether sets that are not here may be fetched
  shots: int = 0
  # Where the shots of a task come from, by key, as `files`. Where there is
  # none they are other items of the task's own data.
  shot_files: Mapping[str, str] = dataclasses.field(default_factory=dict)
  seed: int = 0  # which shots
  limit: int = 0  # the first items alone; 0 is all
  # What one task alone knows, by its name: judge, scorer, prompts, ...
  options: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=dict
  )
