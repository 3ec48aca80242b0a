"""report.html: one file that needs nothing else to be read."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

from instructgpt_jax.runtime import figures
from instructgpt_jax.runtime.progress import duration, number

_SHOWN = 12  # plots of a stage before the rest is folded away
_SAMPLES = 24
NARROW = 48  # characters of a table that has another beside it
# What a reader looks for first; the rest follows by name.
_FIRST = (
  'objective/scores', 'objective/score', 'objective/kl', 'objective/kl_coef',
  'objective/entropy', 'gold_score', 'response_length', 'loss', 'accuracy',
  'margin', 'ppo/loss/policy', 'ppo/loss/value', 'ppo/loss/pretrain',
  'ppo/policy/approxkl', 'ppo/policy/clipfrac', 'ppo/val/var_explained',
)  # fmt: skip

CSS = """
:root { --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --paper: #fff;
  --ground: #f5f7fa; --accent: #e07a3f; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 36px 20px 80px; }
h1 { font-size: 27px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 19px; margin: 44px 0 12px; }
h3 { font-size: 15px; margin: 26px 0 8px; }
p { color: var(--soft); margin: 4px 0 12px; max-width: 76ch; }
.card { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; padding: 16px 18px; margin: 12px 0; overflow-x: auto; }
.tiles { display: grid; gap: 12px; margin: 22px 0;
  grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); }
.tile { background: var(--paper); border: 1px solid var(--line);
  border-radius: 10px; padding: 14px 16px; }
.tile b { display: block; font-size: 20px; line-height: 1.35;
  white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: 13px; }
.pair { display: grid; gap: 12px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
table { border-collapse: collapse; width: 100%;
  font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
th:first-child, td:first-child { text-align: left; white-space: normal;
  min-width: 125px; }
tr:last-child td { border-bottom: 0; }
img { width: 100%; height: auto; display: block; }
details > summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
.prompt, .answer { white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
.prompt { border-left: 3px solid var(--line); padding-left: 12px; }
.answers { display: grid; gap: 12px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); }
.answers > div { border-top: 3px solid var(--line); padding-top: 8px; }
.answers h4 { margin: 0 0 6px; font-size: 13px; }
.answers h4 small { color: var(--soft); font-weight: 400; margin-left: 8px; }
footer { color: var(--soft); font-size: 13px; margin-top: 40px; }
"""


def render(
  report: Mapping[str, Any],
  tables: Sequence[Any],
  stages: Mapping[str, Sequence[Mapping[str, Any]]],
  samples: Sequence[Mapping[str, Any]],
  *,
  data: str = '',
  pictures: Sequence[Any] = (),
) -> str:
  """Returns the page.

  `tables` are report.Table, `stages` metric lines, `data` is where the report
  on curated data lies, from here, `pictures` evaluation_figures.Picture.
  """
  ppo = next((s for s in stages if s.startswith('ppo')), None)
  kl = figures.kl_figure(stages[ppo], report) if ppo else None
  scores = figures.interval_figure(report)
  parts = [_head(report), _tiles(report)]
  if data:
    parts.append(f'<p><a href="{_e(data)}">Report on the data</a></p>')
  if kl:
    text = (
      'Each point is a moment of PPO. The reward model is what PPO climbs; '
      'where a gold scorer exists it tells whether the climb was real.'
    )
    parts += ['<h2>Score over KL</h2>', _p(text), _card(image(kl, 'over KL'))]
  parts += ['<h2>Results</h2>']
  parts += [_card(image(scores, 'scores with intervals'))] if scores else []
  parts += [_tables(tables), _evaluation(pictures), _samples(samples)]
  parts += ['<h2>Curves</h2>'] if stages else []
  parts += [_stage(name, lines) for name, lines in stages.items()]
  body = '\n'.join(parts)
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    f'<title>InstructGPT run</title><style>{CSS}</style></head>\n'
    f'<body><main>\n{body}\n</main></body></html>\n'
  )


def _e(text: Any) -> str:
  return html.escape(str(text))


def _p(text: str) -> str:
  return f'<p>{_e(text)}</p>'


def _card(inner: str) -> str:
  return f'<div class="card">{inner}</div>'


def image(svg: str, alt: str) -> str:
  """Returns the HTML of a picture: ids of two inline figures would collide."""
  data = base64.b64encode(svg.encode()).decode()
  return f'<img alt="{_e(alt)}" src="data:image/svg+xml;base64,{data}">'


def _head(report: Mapping[str, Any]) -> str:
  return f'<h1>InstructGPT run</h1>{_p(str(report.get("config", "")))}'


def _tiles(report: Mapping[str, Any]) -> str:
  tiles: list[tuple[str, str]] = []
  tiles += _preferred(report)
  for key in ('gold_score', 'reward_score'):
    tiles += _change(report, key)
  accuracy = (report.get('reward_accuracy') or {}).get('validation')
  if accuracy is not None:
    tiles.append((f'{100 * accuracy:.1f}%', 'reward model, validation pairs'))
  kl = (report.get('kl') or {}).get(_policy(report.get('kl') or {}))
  if kl:
    tiles.append((f'{kl["mean"]:.1f}', 'nats of KL per response'))
  if report.get('seconds'):
    tiles.append((duration(sum(report['seconds'].values())), 'all stages'))
  inner = ''.join(
    f'<div class="tile"><b>{_e(big)}</b><span>{_e(small)}</span></div>'
    for big, small in tiles
  )
  return f'<div class="tiles">{inner}</div>' if tiles else ''


def _policy(models: Mapping[str, Any]) -> str | None:
  """Returns which of them reinforcement learning trained, None of none."""
  return next((m for m in ('ppo_ptx', 'ppo') if m in models), None)


def _preferred(report: Mapping[str, Any]) -> list[tuple[str, str]]:
  """Returns the tile of the policy against the baseline, by the first judge."""
  found = report.get('preference') or {}
  for judge, of_judge in (found.get('judges') or {}).items():
    policy = _policy(of_judge)
    rate = of_judge[policy]['all'] if policy else None
    if rate:
      low, high = (f'{100 * rate[k]:.0f}' for k in ('low', 'high'))
      label = f'{policy} preferred to {found["baseline"]}, by {judge} '
      label += f'(95% from {low} to {high}%)'
      return [(f'{100 * rate["mean"]:.1f}%', label)]
  return []


def _change(report: Mapping[str, Any], key: str) -> list[tuple[str, str]]:
  """Returns the tile 'from SFT to PPO', if both are known."""
  scores = report.get(key) or {}
  last = _policy(scores)
  means = [
    x.get('mean') if isinstance(x, Mapping) else x
    for x in (scores.get('sft'), scores.get(last))
  ]
  if None in means:
    return []
  before, after = (f'{float(m or 0):.2f}' for m in means)
  return [(f'{before} → {after}', f'{key.replace("_", " ")}, sft → {last}')]


def _tables(tables: Sequence[Any]) -> str:
  """Returns the first by itself, small ones side by side, then large ones."""
  first, *rest = tables or [None]
  small = [t for t in rest if _width(t) <= NARROW and len(t.rows) <= 16]
  large = [t for t in rest if t not in small]
  cards = [_card(table(t)) for t in filter(None, [first])]
  cards += [
    f'<div class="pair">{"".join(_card(table(t)) for t in small)}</div>'
  ]
  return ''.join([*cards, *(_card(table(t)) for t in large)])


def _width(shown: Any) -> int:
  """Returns the characters of its columns."""
  columns = zip(shown.header, *shown.rows, strict=True)
  return sum(max(map(len, column)) for column in columns)


def table(table: Any) -> str:
  """Returns the HTML of a report.Table."""
  head = ''.join(f'<th>{_e(cell)}</th>' for cell in table.header)
  rows = ''.join(
    '<tr>' + ''.join(f'<td>{_e(cell)}</td>' for cell in row) + '</tr>'
    for row in table.rows
  )
  return f'<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _evaluation(pictures: Sequence[Any]) -> str:
  drawn = [
    f'<h3>{_e(picture.title)}</h3>{_p(picture.text)}'
    + _card(image(picture.svg, picture.title))
    for picture in pictures
  ]
  return f'<h2>Evaluation</h2>{"".join(drawn)}' if drawn else ''


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
  shown = [s for s in samples if s.get('responses')][:_SAMPLES]
  if not shown:
    return ''
  cards = [_card(_sample(sample)) for sample in shown]
  folded = ''.join(cards[6:])
  if folded:
    folded = f'<details><summary>more texts</summary>{folded}</details>'
  return f'<h2>Before and after</h2>{"".join(cards[:6])}{folded}'


def _sample(sample: Mapping[str, Any]) -> str:
  answers = []
  for model, text in sample['responses'].items():
    scores = (sample.get('scores') or {}).get(model) or {}
    small = ' · '.join(
      f'{name} {number(float(x))}' for name, x in scores.items()
      if x is not None
    )  # fmt: skip
    colour = figures.COLOURS.get(model, figures.SOFT)
    answers.append(
      f'<div style="border-color:{colour}"><h4>{_e(model)}'
      f'<small>{_e(small)}</small></h4>'
      f'<div class="answer">{_e(text) or "<i>(empty)</i>"}</div></div>'
    )
  prompt = f'<div class="prompt">{_e(sample["prompt"])}</div>'
  return f'{prompt}<div class="answers">{"".join(answers)}</div>'


def _stage(stage: str, lines: Sequence[Mapping[str, Any]]) -> str:
  names = _ordered(figures.curves(lines))
  if not names:
    return ''
  picture = figures.stage_figure(lines, names=names[:_SHOWN])
  parts = [f'<h3>{_e(stage)}</h3>', _card(image(picture, f'{stage} curves'))]
  if names[_SHOWN:]:
    rest = figures.stage_figure(lines, names=names[_SHOWN:])
    inner = _card(image(rest, f'more {stage} curves'))
    parts.append(f'<details><summary>more curves</summary>{inner}</details>')
  return ''.join(parts)


def _ordered(found: Mapping[str, figures.Curve]) -> list[str]:
  """Returns the metrics without prefix `validation/`, known ones first."""
  names = {name.removeprefix('validation/') for name in found}
  clock = ('seconds', 'steps_per_second', 'data_wait_share')
  names -= {f'time/{name}' for name in clock}

  def place(name: str) -> tuple[int, str]:
    for i, first in enumerate(_FIRST):
      if f'/{name}'.endswith(f'/{first}'):
        return i, name
    return len(_FIRST), name

  return sorted(names, key=place)
