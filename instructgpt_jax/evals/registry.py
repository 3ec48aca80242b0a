"""The tasks by name, and the rows that they give for a model."""

from __future__ import annotations

import dataclasses
from collections.abc import (
  Callable,
  Collection,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)
from typing import Any

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals.task import MissingData, Settings, Task, Value
from instructgpt_jax.evals.tasks import (
  choices,
  crows,
  drop,
  lambada,
  probes,
  quac,
  reward_bench,
  squad,
  summaries,
  toxicity,
  translation,
  truthfulqa,
  winogender,
  wsc,
)

Factory = Callable[[Settings], Task]
TASKS: Mapping[str, Factory] = {
  **truthfulqa.TASKS,
  **toxicity.TASKS,
  **winogender.TASKS,
  **crows.TASKS,
  **squad.TASKS,
  **drop.TASKS,
  **quac.TASKS,
  **choices.TASKS,
  **wsc.TASKS,
  **lambada.TASKS,
  **translation.TASKS,
  **summaries.TASKS,
  **probes.TASKS,
}
# Those that ask a reward model.
OF_REWARD: Mapping[str, Factory] = reward_bench.TASKS
# Those that ask the same whatever the number of shots.
WITHOUT_SHOTS: Collection[str] = (
  *truthfulqa.TASKS,
  *toxicity.TASKS,
  *winogender.TASKS,
  *crows.TASKS,
  *probes.TASKS,
  *OF_REWARD,
)


@dataclasses.dataclass(frozen=True)
class Row:
  """A line of the table: a value, or why there is none."""

  task: str
  shots: int
  value: Value | None
  missing: str = ''  # 'no data: <what to give>'


def made(names: Iterable[str], settings: Settings) -> dict[str, Task | str]:
  """Returns each task, or for one without data what to give.

  Raises:
    DataError: for a name that is no task, and for data that is damaged.
  """
  every = {**TASKS, **OF_REWARD}
  found: dict[str, Task | str] = {}
  for name in names:
    if name not in every:
      raise DataError(
        f'config.evaluate.tasks: no task {name!r}. Choose of '
        f'{", ".join(sorted(every))}.'
      )
    try:
      found[name] = every[name](settings)
    except MissingData as error:
      found[name] = f'no data: {error}'
  return found


def asked(
  names: Iterable[str], shots: Sequence[int]
) -> dict[int, tuple[str, ...]]:
  """Returns {shots: the tasks that are asked so}.

  Those that would ask the same again are asked once.
  """
  names, first = tuple(names), next(iter(shots), 0)
  again = tuple(name for name in names if name not in WITHOUT_SHOTS)
  return {k: names if k == first else again for k in shots or (0,)}


def rows(
  tasks: Mapping[str, Task | str], settings: Settings, model: Any
) -> Iterator[Row]:
  """Yields the rows of `made` tasks, in their order."""
  for name, task in tasks.items():
    if isinstance(task, str):
      yield Row(name, settings.shots or 0, None, task)
      continue
    for value in task.run(model):
      own = 0 if name in WITHOUT_SHOTS else settings.shots or 0
      yield Row(name, own if value.shots is None else value.shots, value)
