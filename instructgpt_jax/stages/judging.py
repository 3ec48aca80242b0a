"""What models write on held-out prompts: scores, losses, KL.

Models come one after another, then the reward model, then the SFT model as
the reference: one is on the devices at a time.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from instructgpt_jax import simulation
from instructgpt_jax.data import schema
from instructgpt_jax.evals import intervals
from instructgpt_jax.runtime import distributed, metrics
from instructgpt_jax.stages import (
  candidates,
  documents,
  foreign,
  inputs,
  keeping,
  responses,
)
from instructgpt_jax.stages.responses import Response
from instructgpt_jax.stages.session import Session

SEED = 10  # added to the run's: of the noise that answers are drawn with
NOT_TRAINED = ('base', 'base_prompted', 'sft')  # by reinforcement


@dataclasses.dataclass
class Written:
  """What one model wrote, and what was measured while it was there."""

  sampled: Sequence[Response]  # at T = 1
  greedy: Sequence[Response]
  # Of its own text: summed nats and tokens. None for another tokenizer, whose
  # tokens are others.
  document_loss: np.ndarray | None = None
  document_tokens: np.ndarray | None = None
  logp: np.ndarray | None = None  # of `sampled`, where a KL is asked for


class Judged(NamedTuple):
  """What one model did on the held-out prompts and documents."""

  written: Written
  reward: np.ndarray  # of `sampled`
  gold: np.ndarray | None  # of `sampled`, where a gold scorer exists
  greedy_gold: np.ndarray | None
  kl: np.ndarray | None  # of `sampled` against the SFT model


def written(
  session: Session, name: str, folder: pathlib.Path, kept: keeping.Kept
) -> Written:
  """Returns what a model writes on the held-out prompts; then it is gone."""
  config = session.config
  own = name in ('base', 'sft', config.name)
  found = candidates.opened(session, folder, own=own)
  theirs = keeping.Named(kept, found.session, found.model, found.params, name)
  rows = inputs.prompts(session, 'heldout')[: config.evaluate.prompts]
  if found.session.tokenizer.fingerprint() != session.tokenizer.fingerprint():
    sampled, greedy = (
      foreign.answers(session, found, rows, t, theirs) for t in (1.0, 0.0)
    )
    return Written(sampled, greedy)
  sampled, greedy = (
    responses.write(
      session,
      found.model,
      found.params,
      rows,
      sampling=session.sampling(temperature),
      batch_size=config.evaluate.batch_size,
      seed=config.seed + SEED,
      kept=theirs,
    )
    for temperature in (1.0, 0.0)
  )
  logp = None
  if name not in NOT_TRAINED:
    logp = responses.logps(session, found.model, found.params, sampled, theirs)
  loss, tokens = documents.losses(session, found, theirs)
  return Written(sampled, greedy, loss, tokens, logp)


def judged(
  session: Session, models: Mapping[str, Written], kept: keeping.Kept
) -> dict[str, Judged]:
  """Returns everything that is measured of the models.

  Prompts with every model's answer go to `evaluate/samples.jsonl`.
  """
  rewards = scored(session, {n: w.sampled for n, w in models.items()}, kept)
  kls = _kls(session, models, kept)
  found = {
    name: Judged(
      one,
      rewards[name],
      inputs.gold_totals(session, one.sampled),
      inputs.gold_totals(session, one.greedy),
      kls.get(name),
    )
    for name, one in models.items()
  }
  with metrics.Writer(
    session.run.folder('evaluate'), tensorboard=False
  ) as writer:
    writer.truncate(-1)
    if distributed.is_main():
      writer.write_samples(0, side_by_side(session, found))
  return found


def scored(
  session: Session,
  answers: Mapping[str, Sequence[Response]],
  kept: keeping.Kept,
) -> dict[str, np.ndarray]:
  """Returns the reward model's score of each answer of each model."""
  model = session.scalar_model()
  params = session.load('reward', model)
  theirs = keeping.Named(kept, session, model, params, 'reward model')
  return {
    name: responses.scores(session, model, params, of, theirs)
    for name, of in answers.items()
  }


def _kls(
  session: Session, models: Mapping[str, Written], kept: keeping.Kept
) -> dict[str, np.ndarray]:
  """Returns log pi / pi_SFT of each response (k1, nats) of each policy."""
  asked = {n: w for n, w in models.items() if w.logp is not None}
  if not asked:
    return {}
  model = session.language_model()
  params = session.load('sft', model)
  theirs = keeping.Named(kept, session, model, params, 'sft, as the reference')
  return {
    name: one.logp
    - responses.logps(session, model, params, one.sampled, theirs)
    for name, one in asked.items()
    if one.logp is not None
  }


def summary(models: Mapping[str, Judged]) -> dict[str, Any]:
  """Returns the tables of report.json, each figure with its interval."""
  report: dict[str, Any] = {
    'reward_score': {n: _mean(j.reward) for n, j in models.items()},
    'response_length': {
      name: _mean([w.length for w in j.written.sampled])
      for name, j in models.items()
    },
    'pretrain_loss': {
      name: _rise(j.written, None)
      for name, j in models.items()
      if j.written.document_loss is not None
    },
  }
  for other in ('base', 'sft'):
    if other in models:
      reference = models[other].written
      report[f'pretrain_loss_over_{other}'] = {
        name: _rise(j.written, reference)
        for name, j in models.items()
        if name != other and j.written.document_loss is not None
      }
  tables = {
    'gold_score': {n: j.gold for n, j in models.items()},
    'gold_score_greedy': {n: j.greedy_gold for n, j in models.items()},
    'kl': {n: j.kl for n, j in models.items()},
  }
  for key, values in tables.items():
    found = {n: _mean(x) for n, x in values.items() if x is not None}
    if found:
      report[key] = found
  return report


def _mean(x: Any) -> dict[str, Any]:
  return intervals.mean_interval(x).as_dict()


def _rise(written: Written, reference: Written | None) -> dict[str, Any]:
  """Returns how far the pre-training loss lies above that of a reference.

  Paired by document, so the interval is that of the difference.
  """
  loss, tokens = written.document_loss, written.document_tokens
  assert loss is not None and tokens is not None
  other = np.zeros_like(loss) if reference is None else reference.document_loss
  assert other is not None
  return intervals.loss_difference(loss, other, tokens).as_dict()


def parts(written: Sequence[Response]) -> dict[str, Any]:
  """Returns the parts of the gold score with their intervals."""
  gold = [simulation.gold(w.row, w.text, w.ended) for w in written]
  return {
    part: _mean([getattr(g, part) for g in gold])
    for part in ('correct', 'constraint', 'brevity', 'politeness')
  }


def side_by_side(
  session: Session, models: Mapping[str, Judged]
) -> list[dict[str, Any]]:
  """Returns prompts with every model's answer and its scores."""
  shown = []
  for i in range(session.config.evaluate.pairs_shown):
    answers = {
      name: j.written.sampled[i]
      for name, j in models.items()
      if i < len(j.written.sampled)
    }
    if not answers:
      break
    scores = {}
    for name in answers:
      scores[name] = {'reward': float(models[name].reward[i])}
      gold = models[name].gold
      if gold is not None:
        scores[name]['gold'] = float(gold[i])
    shown.append(
      {
        'prompt': schema.question(next(iter(answers.values())).row),
        'responses': {name: w.text for name, w in answers.items()},
        'scores': scores,
      }
    )
  return shown
