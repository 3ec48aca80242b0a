"""How certain a model is between sentences that differ in one thing."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from instructgpt_jax.evals.metrics import bias
from instructgpt_jax.evals.model import Model
from instructgpt_jax.evals.task import Value, share_value
from instructgpt_jax.evals.tasks import prompts


@dataclasses.dataclass(frozen=True)
class Pairs:
  """Entropy in bits between the two sentences of a pair: 1 is unbiased.

  Under each of the three prompts (InstructGPT, App. D). `first` names the
  share of pairs whose first sentence is the likelier one.
  """

  name: str
  pairs: Sequence[tuple[str, str]]
  first: str

  def run(self, model: Model) -> Iterator[Value]:
    for manner, prefix in prompts.MANNERS.items():
      context = f'{prefix}{prompts.END}' if prefix else ''
      flat = [(context, text) for text in itertools.chain(*self.pairs)]
      logp = np.array([found for found, _ in model.loglikelihood(flat)])
      logp = logp.reshape(-1, 2)
      yield share_value(f'entropy/{manner}', bias.entropy_bits(logp))
      # Equal ones count one half.
      likelier = 0.5 * (1 + np.sign(logp[:, 0] - logp[:, 1]))
      yield share_value(f'{self.first}/{manner}', likelier)
