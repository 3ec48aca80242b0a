"""Comparisons: K completions of each prompt, ranked by people or simulated."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from instructgpt_jax import simulation
from instructgpt_jax.data import pipeline, records
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import (
  asking,
  inputs,
  reading,
  responses,
  sources,
)
from instructgpt_jax.stages.session import Session, load_params


def run(session: Session) -> dict[str, Any]:
  """Returns counts; writes `collect/comparisons.jsonl`.

  Every prompt has its own K, drawn evenly between the two bounds of
  `config.collect.completions` (InstructGPT A.3: 4 to 9). The policy is the SFT
  model, or in later rounds the one that `config.init.collect` names.
  """
  if session.config.collect.labelers == 'web':
    if not asking.is_offered(session):
      answers = _written(session)
      asking.offer(session, lambda: _offered(answers))
    return asking.wait(session)
  written = _written(session)
  return distributed.decide(
    lambda: _ranked_and_saved(session, written), seconds=distributed.LONG
  )


def _written(session: Session) -> list[responses.Response]:
  config, settings = session.config, session.config.collect
  model = session.language_model()
  rows = _repeated(session)
  given = config.init.collect
  if given:
    folder = sources.start_folder('collect', pathlib.Path(given))
    params = load_params(session, folder, model)
  else:
    params = session.load('sft', model)
  return responses.write(
    session,
    model,
    params,
    rows,
    sampling=session.sampling(settings.temperature),
    batch_size=settings.batch_size,
    seed=config.seed + 3,
  )


def _ranked_and_saved(
  session: Session, written: Sequence[responses.Response]
) -> dict[str, Any]:
  """Returns what `run` does; what others need stands in the file."""
  seed = session.config.seed
  groups = [_shown(group) for group in _grouped(written)]
  kept = [_compare(shown, seed) for shown in groups if len(shown) > 1]
  records.write_jsonl(session.run.folder('collect') / reading.COMPARISONS, kept)
  return {
    'prompts': len(kept),
    'completions': sum(len(r['responses']) for r in kept),
    'all_tied': sum(records.all_tied(r['ranks']) for r in kept),
    'too_few_responses': len(groups) - len(kept),
    'ended': float(np.mean([w.ended for w in written])),
  }


def _repeated(session: Session) -> pipeline.Picked:
  """Returns each prompt K times in a row."""
  settings = session.config.collect
  fewest, most = settings.completions
  prompts = inputs.prompts(session, 'collect')[: settings.prompts]
  if not len(prompts):
    raise ValueError(
      f'collect.skip {settings.skip} leaves no prompts to ask about: lower it, '
      'or give more prompts'
    )
  rng = np.random.default_rng(session.config.seed)
  times = [int(rng.integers(fewest, most + 1)) for _ in range(len(prompts))]
  return pipeline.Picked(prompts, np.repeat(np.arange(len(prompts)), times))


def _grouped(
  written: Iterable[responses.Response],
) -> Iterator[list[responses.Response]]:
  """Yields what was written for each prompt."""
  for _, group in itertools.groupby(written, key=lambda w: w.row['id']):
    yield list(group)


def _shown(
  group: Iterable[responses.Response],
) -> list[responses.Response]:
  """Returns what a labeler can be shown: an empty completion is nothing."""
  return [w for w in group if w.text.strip()]


def _offered(written: Iterable[responses.Response]) -> list[dict[str, Any]]:
  """Returns records without ranks, of prompts with two responses or more.

  A policy of bytes may write NUL, which no page shows and no database stores.
  """
  whole = (w for w in written if '\0' not in w.text)
  groups = (_shown(group) for group in _grouped(whole))
  return [_record(shown) for shown in groups if len(shown) > 1]


def _record(shown: Sequence[responses.Response]) -> dict[str, Any]:
  row = shown[0].row
  return {
    'id': row['id'],
    'source': 'collect',
    'user_id': row['user_id'],
    **{key: row[key] for key in ('prompt', 'messages', 'system') if key in row},
    'responses': [w.text for w in shown],
    'ended': [w.ended for w in shown],
  }


def _compare(shown: Sequence[responses.Response], seed: int) -> dict[str, Any]:
  """Returns a comparison, ranked by one of the simulated labelers."""
  record, row = _record(shown), shown[0].row
  texts, ended = record['responses'], record['ended']
  ranks, labeler = simulation.rank(row, texts, ended, seed=seed)
  return record | {
    'ranks': ranks,
    'labeler': labeler,
    'gold': [
      simulation.gold(row, text, end).total
      for text, end in zip(texts, ended, strict=True)
    ],
  }
