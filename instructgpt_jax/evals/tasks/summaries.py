"""ROUGE-L of summaries (CNN/DM, TL;DR), and of answers to instructions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.metrics import text
from instructgpt_jax.evals.task import Settings, Value, mean_value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

FIELDS = {'prompt': str, 'reference': str}


@dataclasses.dataclass(frozen=True)
class Form:
  """What follows an article, and where a summary ends."""

  mark: str
  max_tokens: int  # ours
  stop: Sequence[str] = prompts.STOP


FORMS = {
  'cnn_dm': Form('\n\nTL;DR:', 128),
  'tldr': Form('\n\nTL;DR:', 64),
  # Instructions of users with answers by people: prompts as they stand.
  'user_instructions': Form('', 256, ()),
}


def summary(key: str, settings: Settings) -> Written:
  """Returns the task of records {prompt, reference}."""
  form = FORMS[key]
  items = sources.records(key, FIELDS, settings)
  examples = sources.shots(key, items, FIELDS, settings)

  def question(item: sources.Record) -> str:
    if not form.mark:
      return item['prompt']
    return item['prompt'].rstrip().removesuffix(form.mark) + form.mark

  def measured(said: list[str]) -> Iterator[Value]:
    references = [item['reference'] for item in items]
    yield mean_value('rouge_l', text.rouge_l(said, references))

  asked = [
    prompts.asked(
      question(item), [(question(one), one['reference']) for one in shown]
    )
    for item, shown in zip(items, examples, strict=True)
  ]
  return Written(key, key, asked, measured, form.max_tokens, form.stop)


TASKS = {key: functools.partial(summary, key) for key in FORMS}
