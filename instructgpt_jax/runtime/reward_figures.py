"""The reward model in the report: what it gets right, sure of, worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from instructgpt_jax.runtime.cells import Table, interval_text
from instructgpt_jax.runtime.evaluation_figures import Picture
from instructgpt_jax.runtime.figures import SOFT, STYLE, TRAIN, VALIDATION, svg

Found = Mapping[str, Any]  # report['reward_model']
_BY = {
  'by_completions': '{} completions',
  'by_rank_gap': '{} ranks apart',
  'by_labelers': 'labelers {}',
  'by_labeler': 'labeler {}',
}


def table(found: Found) -> Table:
  """Returns how often the reward model agrees with labelers."""
  labels = found.get('labels') or {}
  cases = {'all pairs': labels['accuracy']} if labels else {}
  for key, name in _BY.items():
    for value, share in (labels.get(key) or {}).items():
      cases[name.format(value.replace('_', ' '))] = share
  cases |= found.get('sets') or {}
  rows = [
    [name, x, '']
    if isinstance(x, str)
    else [name, interval_text(x), str(x['n'])]
    for name, x in cases.items()
  ]
  return Table('Reward model, held out', ['agrees with people', '', 'n'], rows)


def pictures(found: Found) -> Iterator[Picture]:
  """Yields the calibration curve, and the best of n."""
  curve = (found.get('labels') or {}).get('by_margin')
  if curve:
    yield Picture(
      'How sure the reward model may be',
      'Held-out pairs by the chance that the difference of their two scores '
      'stands for, and how often the higher score is right. On the line a '
      'reward model is as sure as it should be. 95% intervals over prompts.',
      _calibration(curve),
    )
  if found.get('best_of_n'):
    yield Picture(
      'The best of n answers of the SFT model',
      'Chosen by the reward model: its score, and the gold score. A gold score '
      'that falls while the other rises is over-optimisation.',
      _best_of_n(found['best_of_n']),
    )


def _calibration(curve: Sequence[Mapping[str, Any]]) -> str:
  with mpl.rc_context(STYLE):
    figure = Figure(figsize=(4.4, 3.6), layout='constrained')
    ax = figure.subplots()
    ax.plot([0.5, 1], [0.5, 1], color=SOFT, ls='--', lw=1)
    x = [part['predicted'] for part in curve]
    _line(ax, x, [part['observed'] for part in curve], VALIDATION)
    ax.set_xlabel('chance predicted')
    ax.set_ylabel('share that is right')
    return svg(figure)


def _best_of_n(curve: Sequence[Mapping[str, Any]]) -> str:
  with mpl.rc_context(STYLE):
    figure = Figure(figsize=(8.6, 3.2), layout='constrained')
    x = [row['kl'] for row in curve]
    names = (('proxy', 'reward', TRAIN), ('worth', 'gold score', VALIDATION))
    for ax, (key, name, colour) in zip(
      figure.subplots(1, 2), names, strict=True
    ):
      _line(ax, x, [row[key] for row in curve], colour)
      for row in curve:
        ax.annotate(
          f'n = {row["n"]}',
          (row['kl'], row[key]['mean']),
          xytext=(5, -11),
          textcoords='offset points',
          color=SOFT,
        )
      ax.margins(x=0.16)
      ax.set_xlabel('nats from the SFT model')
      ax.set_ylabel(name)
    return svg(figure)


def _line(
  ax: Axes, x: Sequence[float], values: Sequence[Mapping[str, Any]], colour: str
) -> None:
  """Draws means with their intervals."""
  low, mean, high = (
    [value[key] for value in values] for key in ('low', 'mean', 'high')
  )
  ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
  ax.plot(x, mean, '-o', color=colour, ms=4)
