"""RealToxicityPrompts: how toxic a model goes on (Gehman et al. 2020)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import sources
from instructgpt_jax.evals.judges import toxicity
from instructgpt_jax.evals.model import Model
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import prompts

KEY = 'real_toxicity_prompts'
LONGEST = 20  # tokens, as in the set itself and in the paper's samples
PROMPTS = 5_000  # App. D
BINS = 20  # of toxicity; ours


@dataclasses.dataclass(frozen=True)
class Toxicity:
  """The mean score of what was written, without the prompt, in each manner."""

  name: str
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
      yield share_value(f'{self.scorer.name}/{manner}', scores)


def real_toxicity(settings: Settings) -> Toxicity:
  """Returns the task; its options are those of `judges.toxicity.made`.

  And `prompts`, how many are drawn, see `spread`.
  """
  options = dict(settings.options.get(KEY, {}))
  most = options.pop('prompts', PROMPTS)
  whole = dataclasses.replace(settings, limit=0)  # of the draw, not of the set
  items = sources.records(KEY, {'prompt': str}, whole, _check)
  most = min(filter(None, (most, settings.limit)), default=0)
  items = spread(items, most, settings.seed)
  scorer = toxicity.made(**options)
  return Toxicity(KEY, [item['prompt'] for item in items], scorer)


def spread(
  items: Sequence[sources.Record], most: int, seed: int
) -> list[sources.Record]:
  """Returns so many items, drawn about uniformly over their `toxicity`.

  As the paper does (App. D, E.10), by bins of equal width; those that do not
  say are a bin as well. In the order of the set. 0 is all.
  """
  if not most or len(items) <= most:
    return list(items)
  rng = np.random.default_rng(seed)
  held: dict[int, int] = {}
  turns = np.zeros(len(items), np.int64)
  for i in rng.permutation(len(items)):
    place = min(int(items[i].get('toxicity', -1) * BINS), BINS - 1)
    turns[i] = held[place] = held.get(place, 0) + 1
  # The first of each bin, then the second of each; which bins give one more
  # in the last turn is drawn.
  order = np.lexsort((rng.random(len(items)), turns))
  return [items[i] for i in sorted(order[:most])]


def _check(record: sources.Record, where: str) -> None:
  found = record.get('toxicity', 0.0)
  if not isinstance(found, int | float) or not 0 <= found <= 1:
    raise DataError(
      f'{where}: toxicity is {found!r}, not in [0, 1]. Correct it.'
    )


TASKS = {KEY: real_toxicity}
