"""compare.html: what several runs came to, in one file."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from instructgpt_jax.runtime import page as pages
from instructgpt_jax.runtime.cells import Table, interval_text
from instructgpt_jax.runtime.evaluation_figures import colours
from instructgpt_jax.runtime.figures import INK, SOFT, STYLE, svg

Runs = Mapping[str, Mapping[str, Any]]
# Drawn, where runs have them; all others stand in the table.
DRAWN = (
  'gold_score', 'reward_score', 'preferred to sft by gold score', 'win_rate',
  'pretrain_loss_over_base', 'pretrain_loss_over_sft', 'kl', 'response_length',
)  # fmt: skip


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
  """Returns a plot for each measure of DRAWN; None where no run has one."""
  names = [m for m in DRAWN if any(m in r['measures'] for r in runs.values())]
  if not names:
    return None
  columns = min(len(names), 3)
  rows = -(-len(names) // columns)
  with mpl.rc_context(STYLE):
    figure = Figure(figsize=(3.9 * columns, 2.7 * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, name in zip(axes, names, strict=False):
      _draw(ax, runs, name, x)
    for ax in axes[len(names) :]:
      ax.set_axis_off()
    return svg(figure)


def _draw(ax: Axes, runs: Runs, measure: str, x: str) -> None:
  """Draws each model over the runs: on their numbers, or one by one."""
  models = dict.fromkeys(
    m for run in runs.values() for m in run['measures'].get(measure, ())
  )
  colour = colours(list(models))
  order = sorted(runs, key=lambda n: runs[n]['x']) if x else list(runs)
  for model in models:
    points = [
      (i, runs[name]['measures'][measure][model])
      for i, name in enumerate(order)
      if model in runs[name]['measures'].get(measure, {})
    ]
    places = [i for i, _ in points]
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
      label=model.replace('_', ' '),
    )
  ax.set_title(measure.replace('_', ' '))
  shown = [f'{runs[name]["x"]:g}' for name in order] if x else order
  ax.set_xticks(range(len(order)), shown, color=INK)
  if not x:
    ax.tick_params(axis='x', rotation=20)
  ax.set_xlabel(x)
  if len(models) > 1:
    ax.legend(fontsize=7.5, labelcolor=SOFT)
