"""Questions with given answers: what follows a question, and what precedes.

Sets with `query`, `choices` and `gold` ask for the likeliest ending. Sets with
`context_options`, `continuation` and `gold` ask which beginning makes the
same ending the likeliest (Trinh and Le 2018).
"""

from __future__ import annotations

import dataclasses
import functools

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import sources
from instructgpt_jax.evals.model import Request
from instructgpt_jax.evals.sources import Record
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks import prompts
from instructgpt_jax.evals.tasks.choice import Choice

QUERIES = {'query': str, 'choices': list, 'gold': int}
BEGINNINGS = {'context_options': list, 'continuation': str, 'gold': int}


@dataclasses.dataclass(frozen=True)
class Form:
  """How a set is asked: what stands first, and what after the question."""

  instruction: str = ''
  before_answer: str = ''


FORMS = {
  'boolq': Form(before_answer='\nAnswer:'),
  'copa': Form(),
  'hellaswag': Form(
    'Complete each independent paragraph using common-sense reasoning.'
  ),
  'piqa': Form(before_answer='Answer:'),  # the question ends its line
  'rte': Form(before_answer='\n\nAnswer:'),
  'sst': Form(
    'For each snippet of text, label the sentiment of the text as positive or '
    'negative.',
    '\n\nLabel:',
  ),
}


def ending(key: str, settings: Settings) -> Choice:
  """Returns the task of a set of questions with given answers."""
  form = FORMS[key]
  items = sources.records(key, QUERIES, settings, _of_choices)
  examples = sources.shots(key, items, QUERIES, settings, _of_choices)

  def question(item: Record) -> str:
    return item['query'] + form.before_answer

  def requests(item: Record, shown: list[Record]) -> list[Request]:
    context = prompts.asked(
      question(item),
      [(question(one), one['choices'][one['gold']]) for one in shown],
      form.instruction,
    )
    return [(context, f' {choice.strip()}') for choice in item['choices']]

  return Choice(
    key,
    [requests(*both) for both in zip(items, examples, strict=True)],
    [item['gold'] for item in items],
  )


def beginning(key: str, settings: Settings) -> Choice:
  """Returns the task of a set of beginnings for the same ending."""
  items = sources.records(key, BEGINNINGS, settings, _of_beginnings)
  examples = sources.shots(key, items, BEGINNINGS, settings, _of_beginnings)

  def requests(item: Record, shown: list[Record]) -> list[Request]:
    right = [
      (one['context_options'][one['gold']], one['continuation'])
      for one in shown
    ]
    return [
      (prompts.asked(context, right), f' {item["continuation"].strip()}')
      for context in item['context_options']
    ]

  return Choice(
    key,
    [requests(*both) for both in zip(items, examples, strict=True)],
    [item['gold'] for item in items],
  )


def _check_gold(field: str, record: Record, where: str) -> None:
  if not 0 <= record['gold'] < len(record[field]):
    raise DataError(
      f'{where}: gold is {record["gold"]}, of {len(record[field])} in {field}. '
      'Count them from 0.'
    )


_of_choices = functools.partial(_check_gold, 'choices')
_of_beginnings = functools.partial(_check_gold, 'context_options')
TASKS = {
  **{key: functools.partial(ending, key) for key in FORMS},
  **{
    key: functools.partial(beginning, key)
    for key in ('winograd_wsc', 'winogrande')
  },
}
