"""LLMBar and PandaLM: does a reward model prefer what people prefer?

These are run on the scores of a reward model, not on a language model.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from instructgpt_jax.data import schema
from instructgpt_jax.evals import sources
from instructgpt_jax.evals.reward_model import groups
from instructgpt_jax.evals.sources import Record
from instructgpt_jax.evals.task import Settings, Value, share_value

KEYS = ('llmbar', 'pandalm_pairs', 'pandalm_kwise')
FIELDS = {'prompt': str, 'responses': list}  # and ranks, see schema


@dataclasses.dataclass(frozen=True)
class RewardBench:
  """The share of ordered pairs of responses that are scored in that order.

  Of each prompt, then the mean over prompts; equal scores count one half.
  """

  name: str
  records: list[Record]

  def run(self, score: groups.Score) -> Iterator[Value]:
    found = [
      groups.pairs([group]).right.mean()
      for group in groups.scored(self.records, score)
    ]
    yield share_value('accuracy', np.array(found))


def comparisons(key: str, settings: Settings) -> RewardBench:
  """Returns the task; groups that are all tied are left out."""
  items = sources.records(key, FIELDS, settings, _check)
  ordered = [item for item in items if not schema.all_tied(item['ranks'])]
  if not ordered:
    raise schema.DataError(
      f'{key}: all responses are tied. Give comparisons that are ordered.'
    )
  return RewardBench(key, ordered)


def _check(record: Record, where: str) -> None:
  """Raises as schema does, but for a response of nothing: models say that."""
  filled = [text or '(nothing)' for text in record['responses']]
  schema.check_comparison({**record, 'responses': filled}, where)


TASKS = {key: functools.partial(comparisons, key) for key in KEYS}
