"""Several runs side by side: compare.html, compare.json and compare.csv."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax import files
from instructgpt_jax.runtime import comparison
from instructgpt_jax.runtime.run import changed_settings, write_json

COLUMNS = ('run', 'measure', 'model', 'mean', 'low', 'high', 'n')
# Of these the intervals lie deeper, or they are none.
_NO_MEASURE = (
  *('devices', 'compute', 'params', 'seconds', 'preference'),
  *('reward_model', 'labeler_cv', 'gold_parts', 'ratings', 'reward_accuracy'),
)


def run(config: ConfigDict) -> None:
  """Writes the page of config.runs to config.target, and says where it is.

  Raises:
    ValueError: if fewer than two are given, or one has no report.
  """
  if len(config.runs) < 2 or not config.target:
    raise ValueError(
      "give --config.runs=\"('RUN', 'RUN')\", two or more, and "
      '--config.target=FOLDER'
    )
  write([pathlib.Path(folder) for folder in config.runs], config.target)


def write(
  runs: Sequence[pathlib.Path], target: str | pathlib.Path, x: str = ''
) -> pathlib.Path:
  """Writes compare.html, .json and .csv; returns the path of the page.

  `x` is a numeric setting over which the figures are drawn; '' is side by side.
  """
  names = [folder.name for folder in runs]
  if len(set(names)) < len(names):
    names = [str(folder) for folder in runs]
  reports = [_read(folder, 'report.json') for folder in runs]
  configs = [_read(folder, 'config.json') for folder in runs]
  found = {
    name: {
      'folder': str(folder),
      'settings': changed_settings(configs[0], config),
      'x': _value(config, x) if x else None,
      'measures': measures(report),
      'tasks': drawn(report),
    }
    for name, folder, report, config in zip(
      names, runs, reports, configs, strict=True
    )
  }
  target = pathlib.Path(target)
  write_json(target / 'compare.json', found)
  files.write_text(target / 'compare.csv', table(found))
  page = target / 'compare.html'
  files.write_text(page, comparison.page(found, x))
  print(f'comparison: {page}', flush=True)
  return page


def measures(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Returns {measure: {model: interval}} of all that a report has.

  What is of no language model stands under 'reward model'.
  """
  found: dict[str, dict[str, Any]] = {}
  for key, value in report.items():
    if key not in _NO_MEASURE and isinstance(value, Mapping):
      found[key] = {k: v for k, v in value.items() if _is_interval(v)}
  found |= _tasks(report.get('tasks') or [])
  found |= _preferred(report.get('preference') or {})
  for name in ('gold_parts', 'ratings'):
    for model, values in (report.get(name) or {}).items():
      for key, x in _intervals(values, name.replace('_', ' ')):
        found.setdefault(key, {})[model] = x
  numbers = {
    key: {'mean': x, 'low': x, 'high': x}
    for key, x in (report.get('reward_accuracy') or {}).items()
    if isinstance(x, (int, float)) and 'pairs' not in key
  }
  for name in ('reward_model', 'labeler_cv'):
    numbers |= dict(_intervals(report.get(name) or {}))
  found |= {
    f'reward model: {key}': {'reward model': x} for key, x in numbers.items()
  }
  return {measure: values for measure, values in found.items() if values}


def _tasks(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
  found: dict[str, dict[str, Any]] = {}
  for line in lines:
    if 'missing' not in line:
      name = f'{line["task"]} {line["metric"]}, {line["shots"]}-shot'
      found[name] = dict(line['models'])
      if line.get('differences'):
        found[f'{name}, over {line["over"]}'] = dict(line['differences'])
  return found


def _preferred(preference: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
  """Returns the rates of all judges: of all prompts, of each kind, ..."""
  found: dict[str, dict[str, Any]] = {}
  for judge, tables in (preference.get('judges') or {}).items():
    name = f'preferred to {preference["baseline"]} by {judge}'
    for model, table in tables.items():
      for key, x in _intervals(table):
        measure = name if key == 'all' else f'{name}, {key}'
        found.setdefault(measure, {})[model] = x
  return found


def _intervals(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
  """Yields all intervals within a value, with their places."""
  if _is_interval(value):
    yield name, value
    return
  pairs: Iterable[tuple[Any, Any]] = ()
  if isinstance(value, Mapping):
    pairs = value.items()
  elif isinstance(value, list):
    known = ('n', 'predicted')  # what a row of a curve is of
    pairs = (
      (', '.join(f'{k} {row[k]:.3g}' for k in known if k in row), row)
      for row in value
      if isinstance(row, Mapping)
    )
  for key, part in pairs:
    spoken = str(key).replace('_', ' ')
    yield from _intervals(part, f'{name}, {spoken}' if name else spoken)


def drawn(report: Mapping[str, Any]) -> list[str]:
  """Returns the tasks' measures of which one way is better: what is drawn."""
  return [
    f'{line["task"]} {line["metric"]}, {line["shots"]}-shot'
    for line in report.get('tasks') or []
    if line.get('better') in ('higher', 'lower')
  ]


def _is_interval(value: Any) -> bool:
  return isinstance(value, Mapping) and {'mean', 'low', 'high'} <= {*value}


def table(found: Mapping[str, Any]) -> str:
  """Returns all measures as CSV, a line for each."""
  text = io.StringIO()
  writer = csv.writer(text, lineterminator='\n')
  writer.writerow(COLUMNS)
  for run_name, of_run in found.items():
    for measure, by_model in of_run['measures'].items():
      for model, x in by_model.items():
        numbers = [x.get(key, '') for key in COLUMNS[3:]]
        writer.writerow([run_name, measure, model, *numbers])
  return text.getvalue()


def _value(config: Mapping[str, Any], key: str) -> float:
  value: Any = config
  for part in key.split('.'):
    value = value[part]
  return float(value)


def _read(folder: pathlib.Path, name: str) -> dict[str, Any]:
  try:
    return json.loads((folder / name).read_bytes())
  except OSError as error:
    raise ValueError(
      f'{folder / name}: {error.strerror}. Give folders of runs that came to '
      'their end.'
    ) from error
  except ValueError as error:
    raise ValueError(
      f'{folder / name}: no JSON ({error}). It was changed by hand.'
    ) from error
