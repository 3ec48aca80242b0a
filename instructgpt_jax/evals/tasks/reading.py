"""Questions about a passage, answered in a few words: what they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

Measured = Callable[[Sequence[str], Sequence[Sequence[str]]], Iterator[Value]]
FIELDS = {'prompt': str, 'answers': list}


def made(
  key: str,
  settings: Settings,
  measured: Measured,
  *,
  instruction: str,
  max_tokens: int,
) -> Written:
  """Returns the task of records {prompt, answers}, the first answer shown."""
  items = sources.records(key, FIELDS, settings)
  examples = sources.shots(key, items, FIELDS, settings, alike=_passage)
  return Written(
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
    max_tokens,
  )


def _passage(record: sources.Record) -> str:
  """Returns what questions about it share: those tell each other's answers."""
  return re.split(r'\nQ(?:uestion)?:', record['prompt'])[0]


def spoken(text: str, *none: str) -> str:
  """Returns the words that count, '' for what says that there is no answer."""
  words = answers.normal(text)
  return '' if words in map(answers.normal, none) else words
