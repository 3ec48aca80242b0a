"""Questions about a passage, answered in a few words: what they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.task import Settings, Value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

Measured = Callable[[Sequence[str], Sequence[Sequence[str]]], Iterator[Value]]
FIELDS = {'prompt': str, 'answers': list}
LONGEST = 50  # tokens; ours, the paper gives none


def made(
  key: str, settings: Settings, measured: Measured, instruction: str = ''
) -> Written:
  """Returns the task of records {prompt, answers}, the first answer shown."""
  items = sources.records(key, FIELDS, settings)
  examples = sources.shots(key, items, FIELDS, settings)
  return Written(
    key,
    key,
    [
      prompts.asked(
        item['prompt'],
        [(one['prompt'], one['answers'][0]) for one in shown],
        instruction,
      )
      for item, shown in zip(items, examples, strict=True)
    ],
    lambda said: measured(said, [item['answers'] for item in items]),
    LONGEST,
  )
