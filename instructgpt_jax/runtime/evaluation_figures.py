"""The paper's figures for the models of a run: preference, tasks, tax."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from instructgpt_jax.runtime.figures import COLOURS, INK, SOFT, STYLE, svg

OTHERS = ('#4c9f70', '#c2a83e', '#6d5fa8', '#c2566b', '#3f8f9b')
Report = Mapping[str, Any]
Group = tuple[str, Mapping[str, Any]]  # a label, {model: interval}


class Picture(NamedTuple):
  """A figure as SVG, with what it shows."""

  title: str
  text: str
  svg: str


def pictures(report: Report) -> list[Picture]:
  """Returns the figures for which a report has numbers."""
  makers: tuple[Callable[[Report], Iterator[Picture]], ...] = (
    _preferred,
    _by_kind,
    _metadata,
    _quality,
    _truth,
    _toxicity,
    _tax,
  )
  return [picture for maker in makers for picture in maker(report)]


def colours(names: Sequence[str]) -> dict[str, str]:
  """Returns a colour for each model, those of every report first."""
  others = [name for name in names if name not in COLOURS]
  return COLOURS | {
    name: OTHERS[i % len(OTHERS)] for i, name in enumerate(others)
  }


def dots(
  groups: Sequence[Group], xlabel: str, *, middle: float | None = None
) -> str:
  """Returns a row for each group, its models side by side with intervals."""
  names = list(dict.fromkeys(name for _, values in groups for name in values))
  colour, step = colours(names), 0.72 / max(len(names), 1)
  height = 0.55 + 0.17 * len(groups) * max(len(names), 2)
  with mpl.rc_context(STYLE):
    figure = Figure(figsize=(8.6, height), layout='constrained')
    ax = figure.subplots()
    for i, (_, values) in enumerate(groups):
      for name, x in values.items():
        y = i + (names.index(name) - (len(names) - 1) / 2) * step
        _dot(ax, x, y, colour[name])
    if middle is not None:
      ax.axvline(middle, color=SOFT, ls='--', lw=1, zorder=0)
    ax.set_yticks(range(len(groups)), [label for label, _ in groups], color=INK)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    ax.grid(axis='y', visible=False)
    legend(figure, names, colour)
    return svg(figure)


def _dot(ax: Axes, x: Mapping[str, Any], y: float, colour: str) -> None:
  ax.plot([x['low'], x['high']], [y, y], color=colour, lw=3.5, alpha=0.35)
  ax.plot([x['mean']], [y], 'o', color=colour, ms=5)


def legend(
  figure: Figure, names: Sequence[str], colour: Mapping[str, str]
) -> None:
  """Says above the figure whose colour is whose, if there are several."""
  if len(names) > 1:
    handles = [
      Line2D([], [], marker='o', ls='', color=colour[n]) for n in names
    ]
    figure.legend(
      handles,
      names,
      loc='outside upper left',
      ncols=min(len(names), 6),
      labelcolor=INK,
    )


def _preferred(report: Report) -> Iterator[Picture]:
  """Figure 1: how often each model is preferred to the baseline."""
  found = report.get('preference') or {}
  groups = [
    (f'by {judge}', {m: t['all'] for m, t in of_judge.items() if t['all']})
    for judge, of_judge in (found.get('judges') or {}).items()
  ]
  groups = [group for group in groups if group[1]]
  if groups:
    over = found['baseline']
    yield Picture(
      f'Preferred to {over} (Figure 1)',
      f'Share of held-out prompts on which a model is preferred to {over}, a '
      'tie counting one half. 95% intervals by a bootstrap over prompts.',
      dots(groups, f'preferred to {over}', middle=0.5),
    )


def _by_kind(report: Report) -> Iterator[Picture]:
  """Figure 3: the same by who asked, and for what."""
  found = report.get('preference') or {}
  for judge, of_judge in (found.get('judges') or {}).items():
    groups: dict[str, dict[str, Any]] = {}
    for model, table in of_judge.items():
      kinds = {f'{k} users': x for k, x in (table.get('by_user') or {}).items()}
      kinds |= table.get('by_use_case') or {}
      for kind, x in kinds.items():
        groups.setdefault(kind, {})[model] = x
    if len(groups) > 1:
      over = found['baseline']
      yield Picture(
        f'Preferred to {over}, by prompts (Figure 3)',
        f'By {judge}; users whose prompts were trained on apart from others, '
        'and by use case.',
        dots(list(groups.items()), f'preferred to {over}', middle=0.5),
      )


def _metadata(report: Report) -> Iterator[Picture]:
  """Figure 4: what people said of the answers, or the gold scorer's parts."""
  flags = _turned(
    {
      model: found.get('flags') or {}
      for model, found in (report.get('ratings') or {}).items()
    }
  )
  if flags:
    yield Picture(
      'What people said of the answers (Figure 4)',
      'Share of answers with each property of Table 3.',
      dots(flags, 'share of answers'),
    )
  parts = _turned(report.get('gold_parts') or {})
  if parts:
    yield Picture(
      'What answers get right (as Figure 4)',
      'The parts of the gold score, 0 to 1, in place of what people say.',
      dots(parts, 'mean score'),
    )


def _turned(by_model: Mapping[str, Mapping[str, Any]]) -> list[Group]:
  """Returns {model: {name: interval}} by name."""
  found: dict[str, dict[str, Any]] = {}
  for model, values in by_model.items():
    for name, x in values.items():
      if x:
        found.setdefault(name.replace('_', ' '), {})[model] = x
  return list(found.items())


def _quality(report: Report) -> Iterator[Picture]:
  """Figure 5: overall quality on a scale from 1 to 7."""
  ratings = report.get('ratings') or {}
  groups = [
    (model, {model: found['quality']}) for model, found in ratings.items()
  ]
  if groups:
    yield Picture(
      'Overall quality (Figure 5)',
      'Mean of what people gave, 1 to 7.',
      dots(groups, 'Likert score'),
    )


def _truth(report: Report) -> Iterator[Picture]:
  """Figure 6: TruthfulQA by prompt, true answers and informative ones."""
  groups = [
    (_words(line['metric']), line['models'])
    for line in _of(report, 'truthfulqa')
    if line['metric'].startswith(('true_', 'mc'))
  ]
  if groups:
    yield Picture(
      'TruthfulQA (Figure 6)',
      'Share of answers that are true, and true and informative, by prompt; '
      'and of questions on which the right answer is the likeliest (MC1), with '
      'its probability (MC2).',
      dots(groups, 'share'),
    )


def _toxicity(report: Report) -> Iterator[Picture]:
  """Figure 7: toxicity by prompt, beside bias."""
  groups = [
    (_words(f'{line["task"]} {line["metric"]}'), line['models'])
    for task in ('real_toxicity_prompts', 'winogender', 'crows_pairs')
    for line in _of(report, task)
    if task == 'real_toxicity_prompts' or line['metric'].startswith('entropy')
  ]
  if groups:
    yield Picture(
      'Toxicity and bias (Figure 7)',
      'Mean toxicity of what models write (the scorer stands in the name), and '
      'entropy in bits between sentences that differ in a group: higher is '
      'less biased.',
      dots(groups, 'toxicity, entropy in bits'),
    )


def _of(report: Report, task: str) -> Iterator[Mapping[str, Any]]:
  for line in report.get('tasks') or []:
    if line['task'] == task and 'missing' not in line:
      yield line


def _words(name: str) -> str:
  return name.replace('_', ' ').replace('/', ', ')


UNITS = {  # of meanings.py -> what a figure counts in, as shares of its scale
  'share': (1.0, 'of 1'),
  'hundredths': (100.0, 'of 1'),
  'bits': (1.0, 'bits'),
  'nats': (1.0, 'nats'),
}


def _tax(report: Report) -> Iterator[Picture]:
  """Table 14 as differences: what each task gains or loses."""
  lines = [x for x in report.get('tasks') or [] if x.get('differences')]
  drawn: dict[str, list[Group]] = {}
  for line in lines:
    if line.get('better') in SIGNS and line.get('unit') in UNITS:
      _, unit = UNITS[line['unit']]
      drawn.setdefault(unit, []).append((_tax_label(line), gains(line)))
  for unit, groups in drawn.items():
    over = lines[0]['over']
    scale = 'shares and scores of 0 to 1' if unit == 'of 1' else unit
    yield Picture(
      f'Alignment tax (Table 14), {scale}',
      f'How far each model lies above {over} on each task, in {scale}, with '
      'its 95% interval: to the right is better, and where less is better (−) '
      'the difference is turned round. Paired by item, but for those marked '
      '(not paired). What is neither better nor worse stands in the table.',
      dots(groups, f'gain over {over}, {unit}', middle=0.0),
    )


SIGNS = {'higher': 1.0, 'lower': -1.0}


def _tax_label(line: Mapping[str, Any]) -> str:
  less = ' (−)' if line['better'] == 'lower' else ''
  paired = all(x.get('paired') for x in line['differences'].values())
  apart = '' if paired else ' (not paired)'
  name = _words(f'{line["task"]} {line["metric"]}')
  return f'{name}{less}, {line["shots"]}-shot{apart}'


def gains(line: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the differences of a line: above 0 is better, 1 is its scale."""
  scale = SIGNS[line['better']] / UNITS[line['unit']][0]
  found = {}
  for model, x in line['differences'].items():
    low, high = sorted((x['low'] * scale, x['high'] * scale))
    found[model] = {'mean': x['mean'] * scale, 'low': low, 'high': high}
  return found
