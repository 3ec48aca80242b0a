"""Tasks that are answered in the model's own words, greedily."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from instructgpt_jax.evals.model import Model
from instructgpt_jax.evals.task import Value
from instructgpt_jax.evals.tasks.prompts import STOP


@dataclasses.dataclass(frozen=True)
class Written:
  """What a model writes to prompts, measured (InstructGPT, App. D)."""

  name: str
  prompts: list[str]
  measured: Callable[[list[str]], Iterator[Value]]
  max_tokens: int
  stop: Sequence[str] = STOP

  def run(self, model: Model) -> Iterator[Value]:
    said = model.generate(
      self.prompts, max_tokens=self.max_tokens, stop=self.stop
    )
    yield from self.measured([text.strip() for text in said])
