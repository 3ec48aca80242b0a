"""LAMBADA: the last word of a story."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.model import Model, Request
from instructgpt_jax.evals.task import Settings, Value, mean_value, share_value
from instructgpt_jax.evals.tasks import prompts

FIELDS = {'context': str, 'continuation': str}


@dataclasses.dataclass(frozen=True)
class Lambada:
  """Whether the word is what the model would say, all of its tokens."""

  name: str
  requests: list[Request]

  def run(self, model: Model) -> Iterator[Value]:
    found = model.loglikelihood(self.requests)
    yield share_value('accuracy', [greedy for _, greedy in found])
    yield mean_value('nats_per_word', [-logp for logp, _ in found])


def lambada(settings: Settings) -> Lambada:
  """Returns the task; examples are whole stories."""
  items = sources.records('lambada', FIELDS, settings)
  examples = sources.shots('lambada', items, FIELDS, settings)
  requests = [
    (
      prompts.asked(
        item['context'], [(e['context'], e['continuation']) for e in shown]
      ),
      f' {item["continuation"].strip()}',
    )
    for item, shown in zip(items, examples, strict=True)
  ]
  return Lambada('lambada', requests)


TASKS = {'lambada': lambada}
