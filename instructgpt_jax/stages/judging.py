"""What models write on held-out prompts: scores, losses, KL, win rates."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from instructgpt_jax import placement
from instructgpt_jax.data import pipeline
from instructgpt_jax.evals import intervals
from instructgpt_jax.runtime import distributed, interrupts, metrics
from instructgpt_jax.stages import candidates, inputs, responses
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import sft as sft_lib


@dataclasses.dataclass
class Judged:
  """What one model did on the held-out prompts and documents."""

  sampled: list[responses.Response]  # at T = 1
  greedy: list[responses.Response]
  reward: np.ndarray  # of `sampled`
  document_loss: np.ndarray  # summed nats
  document_tokens: np.ndarray
  gold: np.ndarray | None  # of `sampled`, where a gold scorer exists
  greedy_gold: np.ndarray | None
  kl: np.ndarray | None  # against the SFT model; None for the base


def run(
  session: Session, folders: Mapping[str, pathlib.Path]
) -> dict[str, Judged]:
  """Returns what all models do that have the run's tokenizer.

  Prompts with every model's answer go to `evaluate/samples.jsonl`.
  """
  judged = {}
  for name, folder in folders.items():
    own = name in ('base', 'sft', session.config.name)
    found = candidates.opened(session, folder, own=own)
    if found.session.tokenizer.fingerprint() == session.tokenizer.fingerprint():
      judged[name] = judge(session, found, with_kl=name not in ('base', 'sft'))
  with metrics.Writer(
    session.run.folder('evaluate'), tensorboard=False
  ) as writer:
    writer.truncate(-1)
    if distributed.is_main():
      writer.write_samples(0, side_by_side(session, judged))
  return judged


def judge(
  session: Session, found: candidates.Opened, *, with_kl: bool
) -> Judged:
  """Returns everything measured of one model."""
  config, model, params = session.config, found.model, found.params
  rows = inputs.prompts(session, 'heldout')[: config.evaluate.prompts]

  def write(temperature: float) -> list[responses.Response]:
    return responses.write(
      session,
      model,
      params,
      rows,
      sampling=session.sampling(temperature),
      batch_size=config.evaluate.batch_size,
      seed=config.seed + 10,
    )

  sampled, greedy = write(1.0), write(0.0)
  scalar = session.scalar_model()
  loss, tokens = document_losses(session, found)
  return Judged(
    sampled=sampled,
    greedy=greedy,
    reward=responses.scores(
      session, scalar, session.load('reward', scalar), sampled
    ),
    document_loss=loss,
    document_tokens=tokens,
    gold=inputs.gold_totals(session, sampled),
    greedy_gold=inputs.gold_totals(session, greedy),
    kl=_kl(session, found, sampled) if with_kl else None,
  )


def _kl(
  session: Session, found: candidates.Opened, written: list[responses.Response]
) -> np.ndarray:
  """Returns [n] log pi / pi_SFT of each response (k1, nats per response)."""
  logp = responses.logps(session, found.model, found.params, written)
  model = session.language_model()
  reference = session.load('sft', model)
  return logp - responses.logps(session, model, reference, written)


def document_losses(
  session: Session, found: candidates.Opened
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the summed loss and the token count of held-out documents."""
  settings = session.config.evaluate
  compiled = jax.jit(
    functools.partial(
      sft_lib.token_nll, model=found.model, chunk=session.config.sft.chunk
    )
  )
  losses, counts = [], []
  rows = inputs.text_rows(session, 'heldout')[: settings.documents]
  for batch in pipeline.token_batches_once(
    rows,
    batch_size=settings.batch_size,
    local=placement.local_rows(session.mesh, settings.batch_size),
  ):
    interrupts.leave_if_asked()
    placed = placement.put_batch(batch, session.mesh)
    with session.on_mesh():
      nll = compiled(found.params, placed)
    host = distributed.fetch((nll, placed.segments, placed.loss_mask))
    for loss, segments, mask in zip(*host, strict=True):
      learned = np.where(mask, segments, 0)
      number = int(segments.max()) + 1
      weights = loss.astype(np.float64)
      losses += list(np.bincount(segments, weights, number)[1:])
      counts += list(np.bincount(learned, minlength=number)[1:])
  kept = np.array(counts) > 0
  limit = settings.documents
  return np.array(losses)[kept][:limit], np.array(counts)[kept][:limit]


def summary(judged: dict[str, Judged]) -> dict[str, Any]:
  """Returns the tables of report.json, each figure with its interval."""
  mean = lambda x: intervals.mean_interval(x).as_dict()  # noqa: E731
  report: dict[str, Any] = {
    'reward_score': {name: mean(j.reward) for name, j in judged.items()},
    'response_length': {
      name: mean([w.length for w in j.sampled]) for name, j in judged.items()
    },
    'pretrain_loss': {
      name: _loss_of(j).as_dict() for name, j in judged.items()
    },
  }
  for other in ('base', 'sft'):
    if other in judged:
      report[f'pretrain_loss_over_{other}'] = _rises(judged, other)
  gold = {n: j for n, j in judged.items() if j.gold is not None}
  if gold:
    report['gold_score'] = {n: mean(j.gold) for n, j in gold.items()}
    report['gold_score_greedy'] = {
      n: mean(j.greedy_gold) for n, j in gold.items()
    }
  report['win_rate'] = _win_rates(judged)
  for judgement in judged.values():
    if judgement.kl is not None:
      report['kl'] = float(judgement.kl.mean())
  return report


def _loss_of(judged: Judged) -> intervals.Interval:
  nothing = np.zeros_like(judged.document_loss)
  return intervals.loss_difference(
    judged.document_loss, nothing, judged.document_tokens
  )


def _rises(judged: dict[str, Judged], other: str) -> dict[str, Any]:
  """Returns how far each model's pre-training loss lies above `other`'s.

  Paired by document, so the interval is that of the difference.
  """
  reference = judged[other]
  return {
    name: intervals.loss_difference(
      j.document_loss, reference.document_loss, reference.document_tokens
    ).as_dict()
    for name, j in judged.items()
    if name != other
  }


def _win_rates(judged: dict[str, Judged]) -> dict[str, Any]:
  """Returns how often the trained policy beats the SFT model.

  By the gold score at T = 1 and greedy where there is one, else by the
  reward model, which the policy was trained on: then the name says so.
  """
  found: dict[str, Any] = {}
  if 'sft' not in judged:
    return found
  sft = judged['sft']
  for name, j in judged.items():
    if name in ('base', 'base_prompted', 'sft'):
      continue
    pair = f'{name}_over_sft'
    if j.gold is None or sft.gold is None:
      rate = intervals.win_rate(j.reward, sft.reward)
      found[f'{pair}_by_reward_model'] = rate.as_dict()
      continue
    found[pair] = intervals.win_rate(j.gold, sft.gold).as_dict()
    if j.greedy_gold is not None and sft.greedy_gold is not None:
      found[f'{pair}_greedy'] = intervals.win_rate(
        j.greedy_gold, sft.greedy_gold
      ).as_dict()
  return found


def side_by_side(
  session: Session, judged: dict[str, Judged]
) -> list[dict[str, Any]]:
  """Returns prompts with every model's answer and its scores."""
  shown = []
  for i in range(session.config.evaluate.pairs_shown):
    answers = {
      name: j.sampled[i] for name, j in judged.items() if i < len(j.sampled)
    }
    if not answers:
      break
    scores = {}
    for name in answers:
      scores[name] = {'reward': float(judged[name].reward[i])}
      gold = judged[name].gold
      if gold is not None:
        scores[name]['gold'] = float(gold[i])
    shown.append(
      {
        'prompt': next(iter(answers.values())).row['prompt'],
        'responses': {name: w.text for name, w in answers.items()},
        'scores': scores,
      }
    )
  return shown
