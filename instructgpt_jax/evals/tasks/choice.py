"""Tasks that are answered by the likeliest of given texts."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from instructgpt_jax.evals.model import Model, Request
from instructgpt_jax.evals.task import Value, share_value


@dataclasses.dataclass(frozen=True)
class Choice:
  """Accuracy of the choice with the highest log-probability per token.

  InstructGPT, App. D, where 'lowest' is a slip: it is the loss that is low.
  """

  name: str
  choices: list[list[Request]]  # of each item
  gold: list[int]  # place of the right one

  def run(self, model: Model) -> Iterator[Value]:
    flat = [*itertools.chain(*self.choices)]
    summed = [logp for logp, _ in model.loglikelihood(flat)]
    lengths = np.maximum(model.lengths(flat), 1)
    ends = np.cumsum([len(choices) for choices in self.choices])
    each = np.split(np.asarray(summed) / lengths, ends[:-1])
    right = [
      credit(logp, gold) for logp, gold in zip(each, self.gold, strict=True)
    ]
    yield share_value('accuracy', right)


def credit(scores: np.ndarray, gold: int) -> float:
  """Returns 1 where the best is the right one, a share of 1 where they tie."""
  best = scores == scores.max()
  return float(best[gold] / best.sum())
