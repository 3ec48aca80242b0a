"""Several runs side by side: compare.html, compare.json and compare.csv."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax import files
from instructgpt_jax.runtime import comparison
from instructgpt_jax.runtime.run import changed_settings, write_json

COLUMNS = ('run', 'measure', 'model', 'mean', 'low', 'high', 'n')
_NO_MEASURE = ('devices', 'compute', 'params', 'seconds', 'preference')


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
  """Returns {measure: {model: interval}} of all that a report has."""
  found: dict[str, dict[str, Any]] = {}
  for key, value in report.items():
    if key in _NO_MEASURE or not isinstance(value, Mapping):
      continue
    values = {k: v for k, v in value.items() if _is_interval(v)}
    if values:
      found[key] = values
  for line in report.get('tasks') or []:
    if 'missing' not in line:
      name = f'{line["task"]} {line["metric"]}, {line["shots"]}-shot'
      found[name] = line['models']
  judges = (report.get('preference') or {}).get('judges') or {}
  for judge, tables in judges.items():
    over = report['preference']['baseline']
    values = {m: t['all'] for m, t in tables.items() if t['all']}
    found[f'preferred to {over} by {judge}'] = values
  if isinstance(report.get('kl'), (int, float)):
    kl = report['kl']
    found['kl'] = {report['config']: {'mean': kl, 'low': kl, 'high': kl}}
  return found


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
