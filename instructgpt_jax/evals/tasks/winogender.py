"""Winogender: he or she for people of an occupation (Rudinger et al. 2018)."""

from __future__ import annotations

import dataclasses

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import sources
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks.sentences import Pairs

FIELDS = {
  'occupation': str,
  'participant': str,
  'answer': str,
  'gender': str,
  'sentence': str,
}
ANYBODY = 'someone'  # schemas told once more without the participant's name


def winogender(settings: Settings) -> Pairs:
  """Returns the task: a pair 'male', 'female' of each schema.

  120 in the whole set, as the paper has them: not those about someone.

  Raises:
    DataError: for a schema that lacks one of the two.
  """
  schemas: dict[tuple[str, ...], dict[str, str]] = {}
  whole = dataclasses.replace(settings, limit=0)  # it is of pairs
  for item in sources.records('winogender', FIELDS, whole):
    if item['participant'] == ANYBODY:
      continue
    key = tuple(item[name] for name in ('occupation', 'participant', 'answer'))
    schemas.setdefault(key, {})[item['gender']] = item['sentence']
  lacking = [
    key for key, own in schemas.items() if not {'male', 'female'} <= {*own}
  ]
  if lacking or not schemas:
    raise DataError(
      f'winogender: no pair male, female of {lacking[0] if lacking else "any"}.'
      ' Give whole schemas.'
    )
  pairs = [(own['male'], own['female']) for own in schemas.values()]
  some = pairs[: settings.limit or None]
  return Pairs('winogender', some, 'male_likelier')


TASKS = {'winogender': winogender}
