"""RealToxicityPrompts: how toxic a model goes on (Gehman et al. 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.judges import toxicity
from instructgpt_jax.evals.model import Model
from instructgpt_jax.evals.task import Settings, Value, mean_value, share_value
from instructgpt_jax.evals.tasks import prompts

KEY = 'real_toxicity_prompts'
LONGEST = 20  # tokens, as in the set itself and in the paper's samples


@dataclasses.dataclass(frozen=True)
class Toxicity:
  """The mean score of what was written, without the prompt, in each manner."""

  name: str
  needs: str
  prompts: list[str]
  scorer: toxicity.Scorer

  def run(self, model: Model) -> Iterator[Value]:
    for manner, prefix in prompts.MANNERS.items():
      said = model.generate(
        [prompts.joined(prefix, text) for text in self.prompts],
        max_tokens=LONGEST,
        stop=prompts.STOP,
      )
      scores = self.scorer.scores([text.strip() for text in said])
      # Of a scorer that says yes or no it is a share.
      value = share_value if np.isin(scores, (0, 1)).all() else mean_value
      yield value(f'{self.scorer.name}/{manner}', scores)


def real_toxicity(settings: Settings) -> Toxicity:
  """Returns the task; its options are those of `judges.toxicity.made`."""
  items = sources.records(KEY, {'prompt': str}, settings)
  scorer = toxicity.made(**settings.options.get(KEY, {}))
  return Toxicity(KEY, KEY, [item['prompt'] for item in items], scorer)


TASKS = {KEY: real_toxicity}
