"""QuAC: F1 of answers in a dialogue about a passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.public_rows import CANNOT_ANSWER
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.prompts import UNKNOWN
from instructgpt_jax.evals.tasks.written import Written

INSTRUCTION = (
  'Answer each question using information in the preceding background '
  'paragraph. If there is not enough information provided, answer with "I '
  'don\'t know."'
)
LONGEST = 50  # tokens; ours, longer than nearly all answers of the set


def quac(settings: Settings) -> Written:
  """Returns the task; a prompt ends in the dialogue's last question, 'A:'."""
  return reading.made(
    'quac', settings, measured, instruction=INSTRUCTION, max_tokens=LONGEST
  )


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1, each answer left out once, and how often there was none.

  Of all questions: QuAC's script leaves those out on whose answer people agree
  with an F1 below 0.4.
  """
  texts = [_spoken(text) for text in said]
  yield share_value(
    'f1',
    [
      answers.without_one(answers.f1, text, voted([*map(_spoken, own)]))
      for text, own in zip(texts, golds, strict=True)
    ],
  )
  yield share_value('abstained', [not text for text in texts])


def voted(golds: Sequence[str]) -> Sequence[str]:
  """Returns the answers that count: '' alone where half say it, else no ''."""
  given = [gold for gold in golds if gold]
  return given if len(given) > len(golds) - len(given) else ['']


def _spoken(text: str) -> str:
  return reading.spoken(text, UNKNOWN, CANNOT_ANSWER)


TASKS = {'quac': quac}
