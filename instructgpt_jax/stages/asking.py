"""Completions that people rank: offered to the labelling application, awaited.

What is offered stands in `collect/offered.jsonl`: it is written once, and a run
that was killed goes on to wait for the answers to it. Nothing is asked twice,
for the application knows each prompt by its id.
"""

from __future__ import annotations

import collections
import math
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from instructgpt_jax.data import records
from instructgpt_jax.data.schema import question
from instructgpt_jax.runtime import distributed, interrupts
from instructgpt_jax.stages import labelers, reading, sources
from instructgpt_jax.stages.session import Session

OFFERED = 'offered.jsonl'
IDLE = (
  'tasks are open, but for nobody who is there: invite labelers, or lower '
  '--config.collect.enough'
)
Record = records.Record


def is_offered(session: Session) -> bool:
  """Returns, in every process alike, whether it is written what is asked."""
  path = session.run.folder('collect') / OFFERED
  return distributed.decide(path.is_file)


def offer(session: Session, make: Callable[[], list[Record]]) -> None:
  """Writes the records that `make` returns in the main process."""
  path = session.run.folder('collect') / OFFERED
  distributed.decide(
    lambda: records.write_jsonl(path, make()), seconds=distributed.LONG
  )


def wait(session: Session) -> dict[str, Any]:
  """Returns counts once enough answers came; writes the comparisons."""
  asked: list[_Asked] = []

  def look() -> dict[str, Any]:
    if not asked:
      asked.append(_Asked(session, session.run.folder('collect')))
    return asked[0].look()

  while not (found := distributed.decide(look))['enough']:
    interrupts.leave_if_asked()
    time.sleep(session.config.collect.poll)
  return found['counts']


class _Asked:
  """What was offered, to whom, and what came of it; in the main process."""

  def __init__(self, session: Session, folder: pathlib.Path):
    found = records.read_records(folder / OFFERED, 'prompts')
    self._offered = [record for record, _ in found]
    # A text that several prompts have is one to train on.
    asked = {question(record) for record in self._offered}
    self._wanted = math.ceil(session.config.collect.enough * len(asked))
    self._folder, self._told = folder, ''
    self._config = session.config
    # What is offered later, to the same application too, is another batch.
    self._batch = f'collect-{sources.digest(folder / OFFERED)}'
    self._answers = 0  # that were there at the last look
    self._ranked: list[Record] = []
    # SQLAlchemy and the like are there only for those who ask people.
    from instructgpt_jax.stages import people  # noqa: PLC0415

    self._people = people.application(
      session.run.path, session.config.collect.url
    )
    self._waits = False

  def look(self) -> dict[str, Any]:
    """Returns whether enough came, and if so counts of what was written."""
    if not self._waits:
      self._waits = self._people.offer(self._folder / OFFERED, self._batch)
    if not self._waits:
      return self._go_on(f'{len(self._offered)} prompts wait')
    standing = self._people.standing(self._batch)
    if standing is not None and standing.answers != self._answers:
      came = self._people.comparisons()
      self._ranked = list(matched(self._offered, came))
      self._answers = standing.answers
    trained = {question(r) for r in self._ranked if self._trains(r)}
    said = f'{len(trained)} of {self._wanted} prompts have a training ranking'
    if len(trained) < self._wanted:
      if standing is None or standing.left:
        idle = standing is not None and standing.idle
        return self._go_on(f'{said}; {IDLE}' if idle else said)
      self._tell(f'{said}, and none is left to rank')
      if not trained:
        raise records.DataError(
          'collect: every task is skipped or answered by labelers held out, so '
          'there is nothing to train on. Begin anew with other prompts.'
        )
    records.write_jsonl(self._folder / reading.COMPARISONS, self._ranked)
    return {'enough': True, 'counts': _counts(self._ranked, self._offered)}

  def _trains(self, ranking: Record) -> bool:
    return not labelers.held_out(self._config, ranking)

  def _go_on(self, said: str) -> dict[str, Any]:
    self._tell(f'{said}; {self._people.advice}')
    return {'enough': False}

  def _tell(self, said: str) -> None:
    if said != self._told:
      print(f'collect: {said}', flush=True)
    self._told = said


def matched(
  offered: Sequence[Record], came: Iterable[Record]
) -> Iterator[Record]:
  """Yields the rankings of what was offered, with what it says of itself.

  A ranking is of an offer if it has its prompt and its responses, in whatever
  order. Of two by one labeler the first counts.
  """
  known = {_key(record): record for record in offered}
  seen = set()
  for ranking in came:
    record = known.get(_key(ranking))
    name = (_key(ranking), ranking.get('labeler'))
    if record is not None and name not in seen:
      seen.add(name)
      yield ranking | {
        'source': 'collect',
        'ended': _ended(record, ranking['responses']),
      }


def _key(record: Record) -> tuple[str, ...]:
  return (question(record), *sorted(record['responses']))


def _ended(record: Record, responses: Sequence[str]) -> list[bool]:
  """Returns which responses ended, those of equal text in turn."""
  told = collections.defaultdict(list)
  for text, ended in zip(record['responses'], record['ended'], strict=True):
    told[text].append(ended)
  return [told[text].pop(0) for text in responses]


def _counts(
  ranked: Sequence[Record], offered: Sequence[Record]
) -> dict[str, Any]:
  return {
    'prompts': len({question(record) for record in ranked}),
    'offered': len(offered),
    'rankings': len(ranked),
    'labelers': len({record.get('labeler') for record in ranked}),
    'completions': sum(len(record['responses']) for record in ranked),
    'all_tied': sum(records.all_tied(record['ranks']) for record in ranked),
  }
