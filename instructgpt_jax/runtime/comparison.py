"""compare.html: what several runs came to, in one file."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from instructgpt_jax.runtime import page as pages
from instructgpt_jax.runtime.cells import Table, interval_text
from instructgpt_jax.runtime.evaluation_figures import colours, legend
from instructgpt_jax.runtime.figures import INK, STYLE, svg

Runs = Mapping[str, Mapping[str, Any]]
# Drawn, where runs have them, before the tasks; all else stands in the table.
DRAWN = (
  'gold_score', 'reward_score', 'preferred to sft by gold score',
  'pretrain_loss_over_base', 'pretrain_loss_over_sft', 'kl', 'response_length',
)  # fmt: skip
MOST = 24  # plots


def page(runs: Runs, x: str) -> str:
  """Returns the page; `x` names the setting that figures are drawn over."""
  text = f'over {x}' if x else 'side by side'
  drawn = figure(runs, x)
  parts = [
    f'<h1>{len(runs)} runs</h1><p>{html.escape(text)}; 95% intervals</p>',
    f'<div class="card">{pages.image(drawn, "measures")}</div>'
    if drawn
    else '',
    f'<h2>Settings that differ</h2>{_settings(runs)}',
    '<h2>Measures</h2>',
    f'<div class="card">{pages.table(measured(runs))}</div>',
  ]
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    f'<title>Comparison of runs</title><style>{pages.CSS}</style></head>\n'
    f'<body><main>\n{"".join(parts)}\n</main></body></html>\n'
  )


def measured(runs: Runs) -> Table:
  """Returns a row for each measure of each model, a column for each run."""
  keys = dict.fromkeys(
    (measure, model)
    for run in runs.values()
    for measure, by_model in run['measures'].items()
    for model in by_model
  )
  rows = [
    [
      f'{measure.replace("_", " ")}, {model}',
      *(
        interval_text(run['measures'].get(measure, {}).get(model))
        for run in runs.values()
      ),
    ]
    for measure, model in keys
  ]
  return Table('Measures', ['mean [95% interval]', *runs], rows)


def _settings(runs: Runs) -> str:
  first, *others = runs
  items = [
    f'<li>{html.escape(name)}: {html.escape("; ".join(shown) or "none")}</li>'
    for name in others
    for shown in [runs[name]['settings']]
  ]
  text = f'From those of {html.escape(first)}:'
  return f'<div class="card"><p>{text}</p><ul>{"".join(items)}</ul></div>'


def figure(runs: Runs, x: str) -> str | None:
  """Returns a plot for each measure of DRAWN and of the tasks, if any."""
  tasks = (name for run in runs.values() for name in run.get('tasks', ()))
  names = [
    measure
    for measure in dict.fromkeys([*DRAWN, *tasks])
    if any(measure in run['measures'] for run in runs.values())
  ][:MOST]
  if not names:
    return None
  columns = min(len(names), 3)
  rows = -(-len(names) // columns)
  with mpl.rc_context(STYLE):
    figure = Figure(figsize=(3.9 * columns, 2.7 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    models = dict.fromkeys(
      model
      for name in names
      for run in runs.values()
      for model in run['measures'].get(name, ())
    )
    colour = colours(list(models))
    for ax, name in zip(axes, names, strict=False):
      _draw(ax, runs, name, x, {m: colour[m] for m in models})
    for ax in axes[len(names) :]:
      ax.set_axis_off()
    legend(figure, list(models), colour)
    return svg(figure)


def _draw(
  ax: Axes, runs: Runs, measure: str, x: str, colour: Mapping[str, str]
) -> None:
  """Draws each model over the runs: on their numbers, or one by one."""
  order = sorted(runs, key=lambda n: runs[n]['x']) if x else list(runs)
  at = {n: runs[n]['x'] if x else i for i, n in enumerate(order)}
  for model in colour:
    points = [
      (at[name], runs[name]['measures'][measure][model])
      for name in order
      if model in runs[name]['measures'].get(measure, {})
    ]
    places = [place for place, _ in points]
    ax.vlines(
      places,
      [v['low'] for _, v in points],
      [v['high'] for _, v in points],
      color=colour[model],
      alpha=0.35,
      lw=3,
    )
    ax.plot(
      places,
      [v['mean'] for _, v in points],
      marker='o',
      ms=4,
      lw=1.3 if x else 0,
      color=colour[model],
    )
  title = measure.replace('_', ' ').removesuffix(', 0-shot')
  ax.set_title('\n'.join(textwrap.wrap(title, 34)))
  _axis(ax, list(at.values()), order, x)


def _axis(
  ax: Axes, places: Sequence[float], names: Sequence[str], x: str
) -> None:
  """Names the runs, or lays out the values of a setting by their size."""
  if not x:
    ax.set_xticks(places, names, color=INK)
    ax.tick_params(axis='x', rotation=20)
    return
  above = [place for place in places if place > 0]
  if above and max(above) > 10 * min(above):
    # As decades, but for 0, which has its place before the smallest.
    ax.set_xscale('symlog', linthresh=min(above), linscale=0.5)
  ax.set_xticks(places, [f'{place:g}' for place in places], color=INK)
  ax.set_xticks([], minor=True)
  ax.set_xlabel(x)
