"""SQuAD 2.0: F1 of answers from a passage, or of saying that it has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, mean_value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.prompts import NOT_IN_BACKGROUND
from instructgpt_jax.evals.tasks.written import Written

INSTRUCTION = (
  'Answer each question using information in the preceding background '
  'paragraph. If there is not enough information provided, answer with "Not '
  'in background."'
)


def squad(settings: Settings) -> Written:
  """Returns the task; a prompt ends in a question and 'A:'."""
  return reading.made('squad_v2', settings, measured, INSTRUCTION)


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1 and exact match, and F1 of questions with and without answer.

  Saying so, or saying nothing, is the empty answer of SQuAD's own script.
  """
  meant = [[_spoken(gold) for gold in own] for own in golds]
  texts = [_spoken(text) for text in said]
  f1 = [
    answers.best(answers.f1, text, own)
    for text, own in zip(texts, meant, strict=True)
  ]
  exact = [
    answers.best(answers.exact, text, own)
    for text, own in zip(texts, meant, strict=True)
  ]
  yield mean_value('f1', f1)
  yield share_value('exact', exact)
  answerable = np.array([any(own) for own in meant])
  if answerable.any():
    yield mean_value('f1_answerable', np.array(f1)[answerable])
  if not answerable.all():  # right or wrong as a whole
    yield share_value('f1_unanswerable', np.array(f1)[~answerable])
  yield share_value('abstained', [not text for text in texts])


def _spoken(text: str) -> str:
  """Returns '' for what says that there is no answer."""
  words = answers.normal(text)
  return '' if words == answers.normal(NOT_IN_BACKGROUND) else words


TASKS = {'squad_v2': squad}
