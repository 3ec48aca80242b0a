"""Who compares: simulated or people; who trains the reward model, who tests it.

The paper (3.4) had labelers who made no training data. So are here those that
`reward.heldout_labelers` names, and those whose records say so themselves
(`labeler_group`, as the labelling application exports it).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.data import libraries, records
from instructgpt_jax.data.schema import question
from instructgpt_jax.stages import reading
from instructgpt_jax.stages.session import Session

INSTALL = "-e '.[labeling]'"
GROUP, HELDOUT = 'labeler_group', 'heldout'


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with whom the stage `collect` asks."""
  if 'collect' not in config.stages:
    return
  if config.collect.labelers == 'web':
    yield from filter(None, [_unasked(config)])
  elif config.data.source != 'world':
    yield (
      'collect needs labelers, whom only the embedded world simulates: ask '
      "people with --config.collect.labelers=web, or leave 'collect' out of "
      'stages and give data.files.comparisons'
    )


def _unasked(config: ConfigDict) -> str:
  """Returns why nobody can be asked, '' if they can."""
  library = 'httpx' if config.collect.url else 'sqlalchemy'
  reason = libraries.absent(library, 'collect.labelers=web', INSTALL)
  if reason or not config.collect.url:
    return reason
  from instructgpt_jax.labeling import client  # noqa: PLC0415 - needs httpx

  try:
    client.account()
  except ValueError as error:
    return str(error)
  return ''


def comparisons(
  session: Session, split: str
) -> tuple[Iterator[records.Located], Any]:
  """Returns the comparisons of 'train', 'validation' or 'heldout'.

  And their identity. Of labelers held out none is in the first two, and only
  those are 'heldout' whose prompt nobody ranked for training.
  """
  names = list(session.config.reward.heldout_labelers)
  if split == HELDOUT:
    parts = [reading.comparisons(session, s) for s in ('train', 'validation')]
    return _theirs(session), [HELDOUT, names, *(known for _, known in parts)]
  found, known = reading.comparisons(session, split)
  kept = (pair for pair in found if not held_out(session.config, pair[0]))
  return kept, [names, known]


def some_held_out(session: Session) -> bool:
  """Returns whether there are comparisons of labelers held out.

  Raises:
    DataError: where one is named of whom there are none.
  """
  given = set(session.config.reward.heldout_labelers)
  if given:
    every = (reading.comparisons(session, s) for s in ('train', 'validation'))
    found = itertools.chain.from_iterable(records for records, _ in every)
    known = {record.get('labeler', '') for record, _ in found}
    unknown = given - known
    if unknown:
      raise records.DataError(
        f'reward.heldout_labelers: no comparison is of {sorted(unknown)}. Name '
        f'some of {sorted(known)[:20]}.'
      )
  return next(_theirs(session), None) is not None


def _theirs(session: Session) -> Iterator[records.Located]:
  trained = {
    question(record)
    for record, _ in reading.comparisons(session, 'train')[0]
    if not held_out(session.config, record)
  }
  for split in ('train', 'validation'):
    for record, where in reading.comparisons(session, split)[0]:
      if held_out(session.config, record) and question(record) not in trained:
        yield record, where


def held_out(config: ConfigDict, record: records.Record) -> bool:
  """Returns whether a comparison is of a labeler who trains nothing."""
  named = record.get('labeler') in config.reward.heldout_labelers
  return named or record.get(GROUP) == HELDOUT
