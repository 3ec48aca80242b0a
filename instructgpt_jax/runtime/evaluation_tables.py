"""Tables of the evaluation: tasks as in Table 14, their tax, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from instructgpt_jax.runtime.cells import Table, interval, interval_text

Line = Mapping[str, Any]


def tables(report: Mapping[str, Any]) -> list[Table]:
  """Returns the tables of report['tasks'], ['preference'], ['compute']."""
  lines = report.get('tasks') or []
  return [
    values(lines),
    missing(lines),
    differences(lines),
    *preferences(report.get('preference') or {}),
    left_out(report.get('preference') or {}),
    orders(report.get('preference') or {}),
    cost(report.get('compute') or {}),
  ]


def values(lines: Sequence[Line]) -> Table:
  """Returns Table 14 of these models: every task, with each kind of prompt."""
  names = models(lines)
  rows = []
  for line in lines:
    if 'missing' in line:
      continue
    found = line['models']
    n = max((int(x['n']) for x in found.values()), default=0)
    cells = [interval_text(found.get(name)) for name in names]
    shots = str(line['shots'])
    rows.append([f'{line["task"]} {line["metric"]}', shots, str(n), *cells])
  return Table('Tasks', ['task', 'shots', 'n', *names], rows)


def missing(lines: Sequence[Line]) -> Table:
  """Returns the tasks that were not asked of models, and why."""
  rows = [
    [
      line['task'],
      str(line['shots']),
      ', '.join(line.get('lacking', ())),
      line['missing'],
    ]
    for line in lines
    if 'missing' in line
  ]
  return Table('Not asked', ['task', 'shots', 'of', 'why'], rows)


def differences(lines: Sequence[Line]) -> Table:
  """Returns how far each model lies above the first, paired by item."""
  found = [line for line in lines if line.get('differences')]
  names = list(
    dict.fromkeys(name for line in found for name in line['differences'])
  )
  over = found[0]['over'] if found else ''
  rows = [
    [
      f'{line["task"]} {line["metric"]}',
      str(line['shots']),
      *(_signed(line['differences'].get(name)) for name in names),
    ]
    for line in found
  ]
  header = [f'difference to {over}', 'shots', *names]
  return Table('Differences', header, rows)


def models(lines: Sequence[Line]) -> list[str]:
  """Returns the models of the lines, in the order they come."""
  return list(
    dict.fromkeys(name for line in lines for name in line.get('models', ()))
  )


def _signed(value: Any) -> str:
  x = interval(value)
  if x is None:
    return '-'
  clear = '*' if x['low'] > 0 or x['high'] < 0 else ''
  return f'{x["mean"]:+.3f} [{x["low"]:+.3f}, {x["high"]:+.3f}]{clear}'


def preferences(found: Mapping[str, Any]) -> Iterator[Table]:
  """Yields how often each model is preferred to the baseline, by judge."""
  for judge, of_judge in (found.get('judges') or {}).items():
    rows = []
    for model, table in of_judge.items():
      lengths = table.get('length') or {}
      said = [lengths.get(k) for k in ('candidate', 'baseline')]
      rows.append(
        [
          model,
          percent(table.get('all')),
          percent(table.get('length_controlled')),
          ' / '.join('-' if x is None else f'{x:.1f}' for x in said),
        ]
      )
    header = [f'over {found["baseline"]}, by {judge}', 'preferred']
    header += ['at equal length', 'length, own / its']
    yield Table('Preference', header, rows)


def left_out(found: Mapping[str, Any]) -> Table:
  """Returns what no judge was asked about, and why."""
  rows = [[who, why] for who, why in (found.get('left_out') or {}).items()]
  return Table('Left out', ['left out of preferences', 'why'], rows)


def orders(found: Mapping[str, Any]) -> Table:
  """Returns what a language model said when asked in both orders."""
  rows = [
    [
      model,
      str(counts['cases']),
      str(counts['no_verdict']),
      *(
        '-' if counts[key] is None else f'{100 * counts[key]:.1f}%'
        for key in ('both_orders_agree', 'first_wins')
      ),
    ]
    for model, counts in (found.get('counts') or {}).items()
  ]
  header = ['a language model as the judge of', 'prompts', 'no verdict']
  header += ['both orders agree', 'the first wins']
  return Table('Orders', header, rows)


def percent(value: Any) -> str:
  """Returns '56.0% [51.6, 60.2]', or '-' for nothing."""
  x = interval(value)
  if x is None:
    return '-'
  mean, low, high = (f'{100 * x[k]:.1f}' for k in ('mean', 'low', 'high'))
  return f'{mean}% [{low}, {high}]'


def cost(compute: Mapping[str, Any]) -> Table:
  """Returns tokens, FLOPs and device-hours by stage, beside the paper's."""
  rows = [
    [
      stage,
      f'{found["tokens"]:,.0f}',
      f'{found["petaflop_days"]:.3g}',
      f'{found["device_hours"]:.3g}' if 'device_hours' in found else '-',
      f'{found["paper"]:,g}' if 'paper' in found else '-',
    ]
    for stage, found in compute.items()
  ]
  header = ['compute', 'tokens', 'petaflop/s-days', 'device-hours']
  return Table('Compute', [*header, 'the paper, 175B'], rows)
