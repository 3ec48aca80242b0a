"""SQuAD 2.0: F1 of answers from a passage, or of saying that it has none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.prompts import NOT_IN_BACKGROUND
from instructgpt_jax.evals.tasks.written import Written

INSTRUCTION = (
  'Answer each question using information in the preceding background '
  'paragraph. If there is not enough information provided, answer with "Not '
  'in background."'
)
LONGEST = 16  # tokens, as the authors' released samples are cut


def squad(settings: Settings) -> Written:
  """Returns the task; a prompt ends in a question and 'A:'."""
  return reading.made(
    'squad_v2', settings, measured, instruction=INSTRUCTION, max_tokens=LONGEST
  )


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1 and exact match, and F1 of questions with and without answer.

  Saying so, or saying nothing, is the empty answer of SQuAD's own script. It
  counts as right only where no accepted answer has a word.
  """
  meant = [[*filter(None, map(_spoken, own))] or [''] for own in golds]
  texts = [_spoken(text) for text in said]
  f1, exact = (
    np.array(
      [
        answers.best(measure, text, own)
        for text, own in zip(texts, meant, strict=True)
      ]
    )
    for measure in (answers.f1, answers.exact)
  )
  yield share_value('f1', f1)
  yield share_value('exact', exact)
  answerable = np.array([any(own) for own in meant])
  if answerable.any():
    yield share_value('f1_answerable', f1[answerable])
  if not answerable.all():  # right or wrong as a whole
    yield share_value('f1_unanswerable', f1[~answerable])
  yield share_value('abstained', [not text for text in texts])


def _spoken(text: str) -> str:
  return reading.spoken(text, NOT_IN_BACKGROUND)


TASKS = {'squad_v2': squad}
