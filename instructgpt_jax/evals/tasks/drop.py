"""DROP: F1 of answers that need counting and comparing in a passage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructgpt_jax.evals.metrics import answers
from instructgpt_jax.evals.task import Settings, Value, mean_value, share_value
from instructgpt_jax.evals.tasks import reading
from instructgpt_jax.evals.tasks.written import Written


def drop(settings: Settings) -> Written:
  """Returns the task; a prompt ends in a question and 'Answer:'."""
  return reading.made('drop', settings, measured)


def measured(
  said: Sequence[str], golds: Sequence[Sequence[str]]
) -> Iterator[Value]:
  """Yields F1 and exact match by DROP's rules, against the best answer."""
  pairs = list(zip(said, golds, strict=True))
  yield mean_value(
    'f1', [answers.best(answers.drop_f1, text, own) for text, own in pairs]
  )
  yield share_value(
    'exact',
    [answers.best(answers.drop_exact, text, own) for text, own in pairs],
  )


TASKS = {'drop': drop}
