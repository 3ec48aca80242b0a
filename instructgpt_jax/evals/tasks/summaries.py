"""ROUGE-L of summaries (CNN/DM, TL;DR), and of answers to instructions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.metrics import text
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.written import Written

FIELDS = {'prompt': str, 'reference': str}
MARK = 'TL;DR:'


@dataclasses.dataclass(frozen=True)
class Form:
  """Whether a mark follows an article, and where a summary ends."""

  marked: bool
  max_tokens: int  # ours
  stop: Sequence[str] = prompts.STOP


FORMS = {
  'cnn_dm': Form(True, 128),
  'tldr': Form(True, 64),
  # Instructions of users with answers by people: prompts as they stand.
  'user_instructions': Form(False, 256, ()),
}


def summary(key: str, settings: Settings) -> Written:
  """Returns the task of records {prompt, reference}."""
  form = FORMS[key]
  items = sources.records(key, FIELDS, settings)
  examples = sources.shots(key, items, FIELDS, settings)

  def question(item: sources.Record) -> str:
    if not form.marked:
      return item['prompt']
    text = item['prompt'].rstrip().removesuffix(MARK)  # which some sets have
    return f'{text.rstrip()}\n\n{MARK}'

  def measured(said: list[str]) -> Iterator[Value]:
    references = [item['reference'] for item in items]
    yield share_value('rouge_l', text.rouge_l(said, references))

  asked = [
    prompts.asked(
      question(item), [(question(one), one['reference']) for one in shown]
    )
    for item, shown in zip(items, examples, strict=True)
  ]
  return Written(key, asked, measured, form.max_tokens, form.stop)


TASKS = {key: functools.partial(summary, key) for key in FORMS}
