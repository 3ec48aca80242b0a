"""QuAC: F1 of answers in a dialogue about a passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, mean_value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.prompts import UNKNOWN
from instructgpt_jax.evals.tasks.written import Written

PUBLISHED = 'CANNOTANSWER'  # the mark of questions without answer
INSTRUCTION = (
  'Answer each question using information in the preceding background '
  'paragraph. If there is not enough information provided, answer with "I '
  'don\'t know."'
)


def quac(settings: Settings) -> Written:
  """Returns the task; a prompt ends in the dialogue's last question, 'A:'."""
  return reading.made('quac', settings, measured, INSTRUCTION)


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1, each answer left out once, and how often there was none."""
  texts = [_spoken(text) for text in said]
  yield mean_value(
    'f1',
    [
      answers.without_one(answers.f1, text, [_spoken(gold) for gold in own])
      for text, own in zip(texts, golds, strict=True)
    ],
  )
  yield share_value('abstained', [not text for text in texts])


def _spoken(text: str) -> str:
  """Returns '' for what says that there is no answer."""
  words = answers.normal(text)
  unknown = (answers.normal(UNKNOWN), answers.normal(PUBLISHED))
  return '' if words in unknown else words


TASKS = {'quac': quac}
