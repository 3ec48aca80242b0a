"""How often a reward model prefers what labelers preferred."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from instructgpt_jax import placement
from instructgpt_jax.data import pipeline
from instructgpt_jax.runtime import distributed, metrics
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.types import Params

# Of one prompt: who ranked it, ordered pairs that the model has right, pairs.
Judged = tuple[str, float, int]


def validation(
  session: Session, model: nn.Module, rows: Any, name: str = 'validation'
) -> Callable[[Params], dict[str, float]]:
  """Returns a function of params: loss, accuracy, accuracy by labeler."""

  def evaluate(params: Params) -> dict[str, float]:
    values, judged = _judge(session, model, params, rows)
    found = {f'{name}/{k}': v for k, v in values.items()}
    found[f'{name}/prompts'] = len(rows)  # of comparisons: independent
    found[f'{name}/pairs'] = sum(pairs for _, _, pairs in judged)
    return found | _by_labeler(name, judged)

  return evaluate


def on(
  session: Session, model: nn.Module, params: Params, rows: Any
) -> dict[str, float]:
  """Returns loss and accuracy over all ordered pairs of some rows."""
  total = metrics.Accumulator()
  for _, values, _ in _batches(session, model, params, rows):
    total.add(values)
  return total.values()


def _judge(
  session: Session, model: nn.Module, params: Params, rows: Any
) -> tuple[dict[str, float], list[Judged]]:
  """Returns metrics, and what was right of each row, of all processes."""
  total = metrics.Accumulator()
  here: list[Judged] = []
  for number, (batch, values, scores) in enumerate(
    _batches(session, model, params, rows)
  ):
    total.add(values)
    here += _rows_judged(session, rows, number, batch, scores)
  every = [(*row,) for part in distributed.gather(here) for row in part]
  return total.values(), every


def _batches(
  session: Session, model: nn.Module, params: Params, rows: Any
) -> Iterator[tuple[Any, Any, np.ndarray]]:
  """Yields batch, metrics and scores [B K] of all rows, each once."""
  size, score = session.config.reward.batch_size, _compiled(model)
  for batch in pipeline.comparison_batches_once(
    rows, batch_size=size, local=placement.local_rows(session.mesh, size)
  ):
    with session.on_mesh():
      values, scores = score(params, placement.put_batch(batch, session.mesh))
    yield batch, values, distributed.fetch(scores)


@functools.lru_cache(maxsize=4)
def _compiled(model: nn.Module) -> Any:
  return jax.jit(functools.partial(reward_lib.reward_eval, model=model))


def _rows_judged(
  session: Session, rows: Any, number: int, batch: Any, scores: np.ndarray
) -> Iterator[Judged]:
  """Yields the rows of a batch that this process reports."""
  size = len(scores)
  local = placement.local_rows(session.mesh, size)
  owned = placement.owned(session.mesh, size)
  for place, row in enumerate(local):
    at = number * size + int(row)
    if at < len(rows) and owned[place]:
      hits = _hits(scores[row], batch, place)
      yield rows[at]['labeler'] or 'unknown', sum(hits), len(hits)


def _hits(scores: np.ndarray, batch: Any, row: int) -> list[float]:
  """Returns for each ordered pair whether the better one scored higher."""
  ranks, valid = batch.ranks[row], batch.valid[row]
  better = valid[:, None] & valid[None, :] & (ranks[:, None] < ranks[None, :])
  margin = scores[:, None] - scores[None, :]
  return list(np.where(margin == 0, 0.5, margin > 0)[better].astype(float))


def _by_labeler(name: str, judged: Sequence[Judged]) -> dict[str, float]:
  """Returns the accuracy of each labeler, if there are several."""
  sums: dict[str, np.ndarray] = {}
  for labeler, right, pairs in judged:
    # Halves add up exactly, in whatever order the processes come.
    sums[labeler] = sums.get(labeler, np.zeros(2)) + np.array([right, pairs])
  return {
    f'{name}/accuracy_by_labeler/{labeler}': float(right / pairs)
    for labeler, (right, pairs) in sorted(sums.items())
    if pairs and len(sums) > 1
  }
