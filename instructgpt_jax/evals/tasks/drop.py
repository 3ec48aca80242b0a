"""DROP: F1 of answers that need counting and comparing in a passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.written import Written

INSTRUCTION = (
  'Answer each question using information in the preceding background '
  'paragraph.'
)
LONGEST = 25  # tokens, as the authors' released samples are cut


def drop(settings: Settings) -> Written:
  """Returns the task; a prompt ends in a question and 'Answer:'."""
  return reading.made(
    'drop', settings, measured, instruction=INSTRUCTION, max_tokens=LONGEST
  )


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1 and exact match by DROP's rules, against the best answer."""
  for name, measure in (
    ('f1', answers.drop_f1),
    ('exact', answers.drop_exact),
  ):
    pairs = zip(said, golds, strict=True)
    found = [answers.best(measure, text, own) for text, own in pairs]
    yield share_value(name, found)


TASKS = {'drop': drop}
