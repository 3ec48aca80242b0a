"""What the reward model gets right, leans to, and is worth in choosing."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import pipeline, records
from instructgpt_jax.evals.passes import Devices
from instructgpt_jax.evals.reward_model import (
  accuracy,
  best_of_n,
  groups,
  invariance,
)
from instructgpt_jax.evals.reward_model.scorer import Scorer
from instructgpt_jax.evals.task import MissingData, Settings
from instructgpt_jax.evals.tasks import reward_bench
from instructgpt_jax.stages import (
  earlier,
  inputs,
  judging,
  keeping,
  labelers,
  layouts,
  reading,
  responses,
  sources,
)
from instructgpt_jax.stages.session import Session

SEQUENCES = 64  # that padding and neighbours are tried on

Record = dict[str, Any]


def run(
  session: Session, settings: Settings, kept: keeping.Kept
) -> dict[str, Any]:
  """Returns report['reward_model'], each part where there is data for it.

  labels: `accuracy.table` of the comparisons that were held out of training,
  by their prompt or their labeler.
  invariance: `invariance.table`. best_of_n: `best_of_n.curve` of the SFT model
  by the gold score. sets: {LLMBar, PandaLM: accuracy, or what is missing}.
  """
  found = _scored(session, settings)
  if session.config.evaluate.best_of.samples > 1:
    found |= _best_of_n(session, kept)
  return found


def _scored(session: Session, settings: Settings) -> dict[str, Any]:
  """Returns what it makes of texts that are there; then it is gone."""
  score = scorer(session)
  return {'sets': _sets(settings, score), **_labels(session, score)}


def scorer(session: Session) -> Scorer:
  """Returns the reward model on the devices."""
  model = session.scalar_model()
  devices = Devices(
    session.mesh, session.rules, layouts.decode_rules(session.config)
  )
  return Scorer(
    model,
    session.load('reward', model),
    devices,
    session.tokenizer,
    tokens=session.config.evaluate.tokens,
    chat_format=session.config.data.chat,
  )


def _labels(session: Session, score: Scorer) -> dict[str, Any]:
  """Returns what the comparisons say that it was not trained on.

  Of prompts held out, and of labelers held out; none where none are known.
  """
  config = earlier.compared(session.config, session.run.path)
  session = dataclasses.replace(session, config=config)
  collected = 'collect' in config.stages
  curated = reading.curated_files(session, 'comparisons', 'train')
  if not (config.data.files.comparisons or collected or curated):
    return {}
  held_out = [
    record
    for split in ('validation', labelers.HELDOUT)
    for record in _comparisons(session, split)
    if not records.all_tied(record['ranks'])
  ]
  if not held_out:
    return {}
  trained = _comparisons(session, 'train')
  return {
    'labels': accuracy.table(
      groups.scored(held_out, score),
      train_labelers={r['labeler'] for r in trained if r.get('labeler')},
      seed=session.config.seed,
    ),
    'invariance': invariance.table(
      score.score_rows,
      score.sequences(held_out)[:SEQUENCES],
      pad_id=session.tokenizer.pad_id,
      longest=score.longest,
    ),
  }


def _comparisons(session: Session, split: str) -> list[Record]:
  """Returns the comparisons of a split as the stage `reward` makes it."""
  return [record for record, _ in labelers.comparisons(session, split)[0]]


def _sets(settings: Settings, score: Scorer) -> dict[str, Any]:
  """Returns the accuracy on each public set, or what to give for it."""
  found: dict[str, Any] = {}
  for name, make in reward_bench.TASKS.items():
    try:
      [value] = make(settings).run(score)
    except MissingData as error:
      found[name] = f'no data: {error}'
      continue
    found[name] = {
      'mean': value.value,
      'low': value.low,
      'high': value.high,
      'n': value.n,
    }
  return found


def _best_of_n(session: Session, kept: keeping.Kept) -> dict[str, Any]:
  """Returns {'best_of_n': the curve}, nothing where there is no gold score."""
  config = session.config
  asked = config.evaluate.best_of
  prompts = inputs.prompts(session, 'heldout')[: asked.prompts]
  folder = sources.source_folder(config, session.run.path, 'sft')
  if config.data.source != 'world' or folder is None or not len(prompts):
    return {}
  written = _written(session, _repeated(prompts, asked.samples), kept)
  scores = judging.scored(session, {'sft': written}, kept)['sft']
  worth = inputs.gold_totals(session, written)
  if worth is None:
    return {}
  shape = len(prompts), asked.samples
  curve = best_of_n.curve(scores.reshape(shape), worth.reshape(shape))
  return {'best_of_n': curve}


def _written(
  session: Session, rows: Any, kept: keeping.Kept
) -> list[responses.Response]:
  model = session.language_model()
  params = session.load('sft', model)
  return responses.write(
    session,
    model,
    params,
    rows,
    sampling=session.sampling(1.0),
    batch_size=session.config.evaluate.batch_size,
    seed=session.config.seed + 13,
    kept=keeping.Named(kept, session, model, params, 'sft, best of n'),
  )


def _repeated(rows: Sequence[Record], times: int) -> pipeline.Picked:
  return pipeline.Picked(rows, np.repeat(np.arange(len(rows)), times))
