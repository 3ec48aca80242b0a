"""One table of all tasks and models: values, and differences to one of them.

The differences to the base model are the alignment tax (InstructGPT 4.2): what
a task loses by RLHF.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.evals import intervals
from instructgpt_jax.evals.registry import Row
from instructgpt_jax.evals.task import Value

Line = dict[str, Any]
_Place = tuple[str, int, str]  # task, shots, metric


def table(rows: Mapping[str, Sequence[Row]], over: str) -> list[Line]:
  """Returns a line for each metric of each task, for JSON.

  Args:
    rows: of each model, in the same order.
    over: the model that the others are compared with.

  Returns:
    {better, unit, task, shots, metric, models: {name: interval}, over,
    differences: {name: interval, `paired`}}, or {task, shots, missing,
    lacking: models} where there is none; the first two as `meanings.Meaning`.
  """
  found: dict[tuple[str, int], dict[str, dict[str, Value]]] = {}
  lacking: dict[tuple[str, int], dict[str, list[str]]] = {}
  for model, of_model in rows.items():
    for row in of_model:
      metrics = found.setdefault((row.task, row.shots), {})
      if row.value is not None:
        metrics.setdefault(row.value.name, {})[model] = row.value
      else:
        reasons = lacking.setdefault((row.task, row.shots), {})
        reasons.setdefault(row.missing, []).append(model)
  return [*_lines(found, lacking, over)]


def _lines(found: Any, lacking: Any, over: str) -> Iterator[Line]:
  for place, metrics in found.items():
    for metric, values in metrics.items():
      yield _line((*place, metric), values, over)
    for reason, models in lacking.get(place, {}).items():
      task, shots = place
      yield {
        'task': task,
        'shots': shots,
        'missing': reason,
        'lacking': models,
      }


def _line(place: _Place, values: Mapping[str, Value], over: str) -> Line:
  task, shots, metric = place
  line: Line = {'task': task, 'shots': shots, 'metric': metric}
  line |= next(iter(values.values())).means._asdict()
  line['models'] = {model: _interval(v) for model, v in values.items()}
  if over in values:
    line['over'] = over
    line['differences'] = dict(_differences(values, over))
  return line


def _interval(value: Value) -> dict[str, float | int]:
  """Returns {mean, low, high, n}, without the interval if it is not known."""
  found: dict[str, float | int] = {'mean': value.value, 'n': value.n}
  if np.isfinite([value.low, value.high]).all():
    found |= {'low': value.low, 'high': value.high}
  return found


def _differences(
  values: Mapping[str, Value], over: str
) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields those that have an interval: others say nothing."""
  for model, value in values.items():
    if model != over:
      found, paired = difference(value, values[over])
      if np.isfinite(found).all():
        yield model, found.as_dict() | {'paired': paired}


def difference(a: Value, b: Value) -> tuple[intervals.Interval, bool]:
  """Returns a - b with its 95% interval, and whether it is paired by item.

  It is where both are means over the same items, or were found again for the
  same draws of them (BLEU of a corpus). Else the two intervals count as
  independent, which makes theirs too wide, if anything.
  """
  same = a.per_item.shape == b.per_item.shape
  if same and all(_is_mean(value) for value in (a, b)):
    inside = all(_inside(value) for value in (a, b))
    pair = intervals.paired_bounded if inside else intervals.paired_interval
    return pair(a.per_item, b.per_item), True
  mean, n = a.value - b.value, min(a.n, b.n)
  if same and a.redrawn.size and a.redrawn.shape == b.redrawn.shape:
    low, high = np.quantile(a.redrawn - b.redrawn, (0.025, 0.975))
    low, high = min(low, mean), max(high, mean)
    return intervals.Interval(mean, float(low), float(high), n), True
  half = math.hypot(a.high - a.low, b.high - b.low) / 2
  return intervals.Interval(mean, mean - half, mean + half, n), False


def _inside(value: Value) -> bool:
  return value.means.unit in ('share', 'bits')  # of two: at most 1


def _is_mean(value: Value) -> bool:
  items = value.per_item
  if not items.size or not np.isfinite(items).all():
    return False
  return math.isclose(items.mean(), value.value, rel_tol=1e-6, abs_tol=1e-9)
