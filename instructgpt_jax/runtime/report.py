"""The end of a run: report.json, report.html and a table for the terminal."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from instructgpt_jax import files
from instructgpt_jax.runtime import (
  evaluation_figures,
  evaluation_tables,
  metrics,
  page,
  reward_figures,
  run,
)
from instructgpt_jax.runtime.cells import (
  Table,
  interval,
  interval_text,
  spoken,
)
from instructgpt_jax.runtime.progress import duration

_MODELS = ('base', 'base_prompted', 'sft', 'ppo', 'ppo_ptx')
_PER_MODEL = {  # report key -> (label, digits)
  'gold_score': ('gold score', 3),
  'gold_score_greedy': ('gold score, greedy', 3),
  'reward_score': ('reward score', 3),
  'pretrain_loss': ('pretraining loss (nats per token)', 4),
  'pretrain_loss_over_base': ('pretraining loss above base', 4),
  'pretrain_loss_over_sft': ('pretraining loss above sft', 4),
  'kl': ('KL to sft (nats per response)', 2),
  'response_length': ('response length (tokens)', 1),
}

_CROSS = {  # of cross-validation over groups of labelers -> label
  'seen': 'labelers seen in training (cross-validation)',
  'heldout': 'labelers held out (cross-validation)',
}


def write_report(
  run_folder: str | os.PathLike[str],
  report: Mapping[str, Any],
  *,
  samples: Sequence[Mapping[str, Any]] | None = None,
) -> pathlib.Path:
  """Writes report.json and report.html; returns the path of the latter.

  `report` has the keys of the run's report.json; any of them may be absent, as
  the gold score is on real data. A sample is
  {"prompt": text, "responses": {model: text}, "scores": {model: {name: x}}};
  without `samples` those of evaluate/samples.jsonl are shown. The curves are
  read from metrics.jsonl of every stage folder.
  """
  folder = pathlib.Path(run_folder)
  run.write_json(folder / 'report.json', report)
  if samples is None:
    samples = metrics.read_lines(folder / 'evaluate' / 'samples.jsonl')
  data = data_page(folder, report)
  html = page.render(
    report,
    tables(report),
    stage_lines(folder, report),
    samples,
    data=data.relative_to(folder).as_posix() if data else '',
    pictures=[
      *evaluation_figures.pictures(report),
      *reward_figures.pictures(report.get('reward_model') or {}),
    ],
  )
  path = folder / 'report.html'
  files.write_text(path, html)
  return path


def data_page(
  folder: pathlib.Path, report: Mapping[str, Any]
) -> pathlib.Path | None:
  """Returns the report on the data, if the run curated any."""
  path = folder / 'data' / 'report.html'
  curated = 'curate' in (report.get('seconds') or {})
  return path if curated and path.is_file() else None


def stage_lines(
  folder: pathlib.Path, report: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
  """Returns the metric lines of each stage, in the order they were run."""
  found = {
    path.parent.name: metrics.read_lines(path, time=(int, float), values=dict)
    for path in folder.glob('*/metrics.jsonl')
  }
  order = list(report.get('seconds') or {})

  def place(stage: str) -> tuple[int, float]:
    known = order.index(stage) if stage in order else len(order)
    return known, found[stage][0]['time']

  return {s: found[s] for s in sorted(filter(found.get, found), key=place)}


def terminal_table(report: Mapping[str, Any]) -> str:
  """Returns the tables of the report as aligned text."""
  blocks = []
  for table in tables(report):
    lines = [table.header, *table.rows]
    widths = [max(len(x[i]) for x in lines) for i in range(len(table.header))]
    rule = ['-' * width for width in widths]
    text = [_aligned(cells, widths) for cells in (table.header, rule)]
    text += [_aligned(cells, widths) for cells in table.rows]
    blocks.append('\n'.join(text))
  return '\n\n'.join(blocks)


def _aligned(cells: Iterable[str], widths: Sequence[int]) -> str:
  first, *rest = (
    cell.ljust(width) if i == 0 else cell.rjust(width)
    for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
  )
  return '  '.join([first, *rest]).rstrip()


def tables(report: Mapping[str, Any]) -> list[Table]:
  """Returns what the page and the terminal show, without what is absent."""
  every = [_models(report), _reward(report), _effort(report)]
  every += evaluation_tables.tables(report)
  every.append(reward_figures.table(report.get('reward_model') or {}))
  return [table for table in every if table.rows]


def _models(report: Mapping[str, Any]) -> Table:
  known = {
    *_PER_MODEL,
    'seconds',
    'params',
    'ratings',
    'gold_parts',
    'compute',
  }
  own = [k for k, v in report.items() if k not in known and _by_model(v)]
  keys = [k for k in (*_PER_MODEL, *own) if _by_model(report.get(k))]
  seen = {name: None for key in keys for name in report[key]}
  names = sorted(seen, key=lambda n: _MODELS.index(n) if n in _MODELS else 9)
  rows = []
  for key in keys:
    label, digits = _PER_MODEL.get(key, (spoken(key), 3))
    cells = [interval_text(report[key].get(n), digits) for n in names]
    rows.append([label, *cells])
  return Table('Models', ['mean [95% interval]', *names], rows)


def _by_model(value: Any) -> bool:
  return isinstance(value, Mapping) and any(m in value for m in _MODELS)


def _reward(report: Mapping[str, Any]) -> Table:
  accuracy = report.get('reward_accuracy') or {}
  rows = [
    [spoken(key), f'{value:,}' if 'pairs' in key else f'{100 * value:.1f}%']
    for key, value in accuracy.items()
    if isinstance(value, (int, float))
  ]
  for who, label in _CROSS.items():
    x = interval((report.get('labeler_cv') or {}).get(who))
    if x:
      mean, low, high = (f'{100 * x[k]:.1f}' for k in ('mean', 'low', 'high'))
      rows.append([label, f'{mean}% [{low}, {high}]'])
  return Table('Reward model', ['reward model accuracy', 'value'], rows)


def _effort(report: Mapping[str, Any]) -> Table:
  seconds = report.get('seconds') or {}
  rows = [[name, duration(value)] for name, value in seconds.items()]
  if len(rows) > 1:
    rows.append(['all', duration(sum(seconds.values()))])
  rows += [
    [f'{name} parameters', f'{count:,}']
    for name, count in (report.get('params') or {}).items()
  ]
  return Table('Time and size', ['stage', 'time'], rows)
