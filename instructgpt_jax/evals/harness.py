"""lm-evaluation-harness asks our models: all of its tasks run."""

from __future__ import annotations

import dataclasses
import functools
import numbers
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import libraries
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.meanings import SHARE, of_harness
from instructgpt_jax.evals.model import CannotAnswerError, Model
from instructgpt_jax.evals.task import Settings, Task, Value

NAME = 'lm-evaluation-harness'
EXTRA = "-e '.[eval]'"
LONGEST = 256  # tokens to write where a task does not say, as in the harness
_SAID = {'until', 'max_gen_toks', 'temperature', 'do_sample'}


def adapted(model: Model, seed: int = 0) -> Any:
  """Returns a model of ours as an `LM` of the harness.

  Raises:
    ImportError: without lm-eval.
  """
  api = libraries.load('lm_eval.api.model', NAME, EXTRA)

  def written(self: Any, requests: Sequence[Any]) -> list[str]:
    del self
    return _written(model, [r.args for r in requests], seed)

  return type(
    'Adapted',
    (api.LM,),
    {
      'loglikelihood': lambda self, requests: model.loglikelihood(
        [r.args for r in requests]
      ),
      'loglikelihood_rolling': lambda self, requests: model.rolling(
        [r.args[0] for r in requests]
      ),
      'generate_until': written,
    },
  )()


def _written(
  model: Model, asked: Sequence[tuple[str, Mapping[str, Any]]], seed: int
) -> list[str]:
  """Returns what follows each context, those written alike together.

  Raises:
    CannotAnswerError: for a task that says more of writing than we know.
  """
  groups: dict[tuple[Any, ...], list[int]] = {}
  for i, (_, said) in enumerate(asked):
    groups.setdefault(_how(said), []).append(i)
  found = [''] * len(asked)
  for (stop, most, temperature), members in groups.items():
    texts = model.generate(
      [asked[i][0] for i in members],
      max_tokens=most,
      stop=stop,
      temperature=temperature,
      seed=seed,
    )
    for i, text in zip(members, texts, strict=True):
      found[i] = text
  return found


def _how(said: Mapping[str, Any]) -> tuple[tuple[str, ...], int, float]:
  """Returns (stop strings, most tokens, temperature) of generation_kwargs."""
  temperature = float(said.get('temperature') or 0.0)
  if said.get('do_sample') is False:
    temperature = 0.0
  other = {
    name
    for name in said.keys() - _SAID
    # Greedy, these say nothing.
    if temperature or name not in ('top_k', 'top_p')
  }
  if other:
    raise CannotAnswerError(
      f'a task of lm-evaluation-harness sets {", ".join(sorted(other))} in '
      f'generation_kwargs; we know {", ".join(sorted(_SAID))}. Leave it out.'
    )
  until = said.get('until') or ()
  until = (until,) if isinstance(until, str) else tuple(until)
  return (
    tuple(stop for stop in until if stop),
    int(said.get('max_gen_toks') or LONGEST),
    temperature,
  )


@dataclasses.dataclass(frozen=True)
class HarnessTask:
  """A task or group of the harness, with its data loaded."""

  name: str
  inner: Sequence[Any]  # what simple_evaluate takes
  settings: Settings

  def run(self, model: Model) -> Iterator[Value]:
    """Yields what the harness finds, as TASK/METRIC for those of a group."""
    given = self.settings
    found = libraries.load('lm_eval.evaluator', NAME, EXTRA).simple_evaluate(
      adapted(model, given.seed),
      tasks=list(self.inner),
      num_fewshot=given.shots,  # None: each task's own
      limit=given.limit or None,
      random_seed=given.seed,
      numpy_random_seed=given.seed,
      torch_random_seed=None,
      fewshot_random_seed=given.seed,
      bootstrap_iters=1000,
      # Without one it lists all that the harness brings, for seconds.
      task_manager=_manager(given.folders, defaults=False),
    )
    for task, metrics in found['results'].items():
      samples = found['samples'].get(task, [])
      for metric, value in _numbers(metrics):
        short = metric.removesuffix(',none')
        yield _value(
          short if task == self.name else f'{task}/{short}',
          float(value),
          _stderr(metrics, metric),
          _items(samples, metric),
          _count(found, task, samples),
          found['n-shot'].get(task),
        )


def _numbers(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  for key, value in metrics.items():
    name, _, which = key.partition(',')
    known = which and not name.endswith('_stderr')
    if known and isinstance(value, numbers.Real):
      yield key, float(value)


def _stderr(metrics: Mapping[str, Any], key: str) -> float:
  """Returns the standard error of a metric, NaN where there is none."""
  name, _, which = key.partition(',')
  found = metrics.get(f'{name}_stderr,{which}')
  return float(found) if isinstance(found, numbers.Real) else np.nan


def _items(samples: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
  """Returns one number per document, none where a metric has no such."""
  name, _, which = key.partition(',')
  values = [s.get(name) for s in samples if s.get('filter') == which]
  if not all(isinstance(value, numbers.Real) for value in values):
    return np.zeros(0)
  return np.array(values, np.float64)


def _count(found: Mapping[str, Any], task: str, samples: Sequence[Any]) -> int:
  number = found['n-samples'].get(task, {}).get('effective')
  return int(number or len(samples))


def _value(
  name: str,
  mean: float,
  stderr: float,
  items: np.ndarray,
  n: int,
  shots: int | None,
) -> Value:
  half = intervals.Z95 * stderr  # NaN: a figure without an error has none
  known = of_harness(name.rpartition('/')[2])
  low, high = mean - half, mean + half
  if stderr == 0 and known.unit == SHARE and items.size:
    # All right or all wrong is no certainty.
    _, low, high, _ = intervals.bounded_interval(items)
  return Value(name, mean, n, low, high, items, known=known, shots=shots)


def made(names: Iterable[str], settings: Settings) -> dict[str, Task | str]:
  """Returns the tasks or groups of these names, or what they lack.

  Of the harness, and of YAML files in `settings.folders`.

  Raises:
    DataError: for a name that nothing has.
    ImportError: without lm-eval.
  """
  found: dict[str, Task | str] = {}
  for name in names:
    # To list what the harness brings takes seconds.
    manager = _manager(settings.folders, defaults=False)
    if name not in manager.all_tasks:
      manager = _manager(settings.folders, defaults=True)
    if name not in manager.all_tasks:
      raise DataError(
        f'config.evaluate.tasks: lm-evaluation-harness has no task {name!r}. '
        'See `lm_eval ls tasks`, or give its YAML file in one of '
        'config.evaluate.folders.'
      )
    try:
      loaded = manager.load([name])
    except Exception as error:  # of the network, the hub, a script: many kinds
      reason = ' '.join(str(error).split())[:200]
      found[name] = (
        f'no data: {type(error).__name__}: {reason}. Run once where the data '
        'can be fetched.'
      )
      continue
    inner = loaded['groups'] or loaded['tasks']
    found[name] = HarnessTask(name, list(inner.values()), settings)
  return found


@functools.lru_cache(maxsize=4)
def _manager(folders: tuple[str, ...], *, defaults: bool) -> Any:
  return libraries.load('lm_eval.tasks', NAME, EXTRA).TaskManager(
    include_path=list(folders), include_defaults=defaults
  )
