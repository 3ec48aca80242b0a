"""What the reward model gets right, leans to, and is worth in choosing."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import pipeline, records
from instructgpt_jax.evals import sources as task_data
from instructgpt_jax.evals.passes import Devices
from instructgpt_jax.evals.reward_model import (
  accuracy,
  best_of_n,
  groups,
  invariance,
)
from instructgpt_jax.evals.reward_model.scorer import Scorer
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks import reward_bench
from instructgpt_jax.stages import inputs, layouts, reading, responses, sources
from instructgpt_jax.stages.session import Session
from instructgpt_jax.types import Params

SEQUENCES = 64  # that padding and neighbours are tried on

Record = dict[str, Any]


def run(session: Session, settings: Settings) -> dict[str, Any]:
  """Returns report['reward_model'], each part where there is data for it.

  labels: `accuracy.table` of the comparisons that were held out of training.
  invariance: `invariance.table`. best_of_n: `best_of_n.curve` of the SFT model
  by the gold score. sets: {LLMBar, PandaLM: accuracy, or what is missing}.
  """
  model = session.scalar_model()
  params = session.load('reward', model)
  devices = Devices(
    session.mesh, session.rules, layouts.decode_rules(session.config)
  )
  score = Scorer(
    model,
    params,
    devices,
    session.tokenizer,
    tokens=session.config.evaluate.tokens,
    chat_format=session.config.data.chat,
  )
  found: dict[str, Any] = {'sets': _sets(settings, score)}
  held_out = _comparisons(session, 'validation')
  ordered = [r for r in held_out if not records.all_tied(r['ranks'])]
  if ordered:
    found['labels'] = accuracy.table(
      groups.scored(ordered, score),
      train_labelers={
        r['labeler'] for r in _comparisons(session, 'train') if 'labeler' in r
      },
      seed=session.config.seed,
    )
    found['invariance'] = invariance.table(
      score.score_rows,
      score.sequences(ordered)[:SEQUENCES],
      pad_id=session.tokenizer.pad_id,
      longest=score.longest,
    )
  if session.config.evaluate.best_of.samples > 1:
    found |= _best_of_n(session, params)
  return found


def _comparisons(session: Session, split: str) -> list[Record]:
  """Returns comparisons of a split: of files, else those that were collected.

  None for a split of files of the user's own that is empty.
  """
  config = session.config
  paths = [pathlib.Path(path) for path in config.data.files.comparisons]
  folder = sources.source_folder(config, session.run.path, 'collect')
  if folder and (folder / reading.COMPARISONS).is_file():
    paths.append(folder / reading.COMPARISONS)
  if not paths:
    return []
  parts = records.split_records(
    records.read_records(paths, 'comparisons'),
    split,
    validation=config.reward.validation_share,
  )
  return [record for record, _ in parts]


def _sets(settings: Settings, score: Scorer) -> dict[str, Any]:
  """Returns the accuracy on each public set, or what to give for it."""
  found: dict[str, Any] = {}
  for name, make in reward_bench.TASKS.items():
    try:
      [value] = make(settings).run(score)
    except task_data.MissingData as error:
      found[name] = f'no data: {error}'
      continue
    found[name] = {
      'mean': value.value,
      'low': value.low,
      'high': value.high,
      'n': value.n,
    }
  return found


def _best_of_n(session: Session, params: Params) -> dict[str, Any]:
  """Returns {'best_of_n': the curve}, nothing where there is no gold score."""
  config = session.config
  asked = config.evaluate.best_of
  prompts = inputs.prompts(session, 'heldout')[: asked.prompts]
  folder = sources.source_folder(config, session.run.path, 'sft')
  if config.data.source != 'world' or folder is None or not len(prompts):
    return {}
  model = session.language_model()
  written = responses.write(
    session,
    model,
    session.load('sft', model),
    _repeated(prompts, asked.samples),
    sampling=session.sampling(1.0),
    batch_size=config.evaluate.batch_size,
    seed=config.seed + 13,
  )
  shape = len(prompts), asked.samples
  scores = responses.scores(session, session.scalar_model(), params, written)
  worth = inputs.gold_totals(session, written)
  if worth is None:
    return {}
  curve = best_of_n.curve(scores.reshape(shape), worth.reshape(shape))
  return {'best_of_n': curve}


def _repeated(rows: Sequence[Record], times: int) -> pipeline.Picked:
  return pipeline.Picked(rows, np.repeat(np.arange(len(rows)), times))
