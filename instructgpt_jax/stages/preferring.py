"""How often each model is preferred to a baseline, by every judge there is."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from instructgpt_jax.evals import remote
from instructgpt_jax.evals.preference import likert, people, win_rate
from instructgpt_jax.evals.preference.cases import Answer, Case, paired
from instructgpt_jax.evals.preference.chat_judge import ChatJudge
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import candidates, inputs, judging, prompted
from instructgpt_jax.stages.judging import Judged
from instructgpt_jax.stages.responses import Response
from instructgpt_jax.stages.session import Session

# Judges, as the report names them.
GOLD, GREEDY, PEOPLE = 'gold score', 'gold score, greedy', 'people'
REWARD = 'reward model'  # which the policy was trained on

Verdicts = tuple[Sequence[Case], np.ndarray]


def run(
  session: Session,
  judged: Mapping[str, Judged],
  left_out: Mapping[str, str] | None = None,
) -> dict[str, Any]:
  """Returns report['preference'], and ['ratings'] where people gave any.

  {'baseline', 'judges': {judge: {model: win_rate.table}}, 'left_out': {whom or
  what: why}, 'counts' of the language model}; 'gold_parts' of the embedded
  world are {model: {part: interval}}.
  """
  seen = _users(session)  # a decision of its own: not within the other
  return distributed.decide(
    lambda: _found(session, judged, seen, dict(left_out or {})),
    seconds=distributed.LONG,
  )


def _found(
  session: Session,
  judged: Mapping[str, Judged],
  seen: set[str],
  left_out: dict[str, str],
) -> dict[str, Any]:
  config = session.config
  baseline = config.evaluate.baseline
  found: dict[str, Any] = {
    'preference': {'baseline': baseline, 'judges': {}, 'left_out': left_out}
  }
  others = [name for name in judged if name != baseline]
  if baseline in judged:
    judge = _Judges(session, judged, left_out)
    for name in others:
      for said, (cases, verdicts) in judge.of(name, baseline).items():
        of_judge = found['preference']['judges'].setdefault(said, {})
        of_judge[name] = win_rate.table(
          cases, verdicts, seen_users=seen, seed=config.seed
        )
    found['preference']['counts'] = judge.counts
  else:
    left_out.setdefault(baseline, 'it is not there, so nothing is preferred')
  if config.data.source == 'world':
    found['gold_parts'] = {
      n: judging.parts(j.written.sampled) for n, j in judged.items()
    }
  path = said_by_people(config, 'ratings')
  if path:
    found['ratings'] = likert.table(people.ratings(path), seed=config.seed)
  return found


class _Judges:
  """All that say which of two models' answers is better."""

  def __init__(
    self,
    session: Session,
    judged: Mapping[str, Judged],
    left_out: dict[str, str],
  ) -> None:
    self._judged, self._left_out = judged, left_out
    self.counts: dict[str, Any] = {}  # {model: what the language model met}
    settings = session.config.evaluate.judge
    self._chat = _chat_judge(session) if settings.url else None
    self._people = None
    path = said_by_people(session.config, 'comparisons')
    if path:
      self._people = people.read(path)
      if self._people.without_models:
        left_out['people: rankings that name no models'] = (
          f'{self._people.without_models} of {path.name}'
        )

  def of(self, name: str, baseline: str) -> dict[str, Verdicts]:
    """Returns {judge: cases and preferences} of a model."""
    one, other = self._judged[name], self._judged[baseline]
    cases = _cases(one.written.sampled, other.written.sampled)
    found: dict[str, Verdicts] = {}
    if one.gold is not None and other.gold is not None:
      found[GOLD] = cases, _signs(one.gold - other.gold)
    if one.greedy_gold is not None and other.greedy_gold is not None:
      greedy = _cases(one.written.greedy, other.written.greedy)
      found[GREEDY] = greedy, _signs(one.greedy_gold - other.greedy_gold)
    found[REWARD] = cases, _signs(one.reward - other.reward)
    if self._chat:
      found[self._chat.name] = cases, self._chat.preferences(cases)
      self.counts[name] = self._chat.counts
    if self._people:
      said = people.comparisons(self._people, name, baseline)
      if said[0]:
        found[PEOPLE] = said
      else:
        self._left_out[f'people: {name}'] = (
          f'nobody compared it with {baseline}'
        )
    return found


def _chat_judge(session: Session) -> ChatJudge:
  """Returns the language model, its answers kept in `evaluate`."""
  judge = session.config.evaluate.judge
  server = remote.Remote(
    judge.url,
    headers=remote.bearer(judge.key),
    answers=remote.Answers(session.run.folder('evaluate') / 'judge.sqlite'),
    workers=judge.workers,
  )
  return ChatJudge(server, judge.model)


def said_by_people(config: ConfigDict, kind: str) -> pathlib.Path | None:
  """Returns the file of comparisons or ratings, None where there is none."""
  path = pathlib.Path(config.evaluate.people) / f'{kind}.jsonl'
  return path if config.evaluate.people and path.is_file() else None


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the baseline and with what people said."""
  if 'evaluate' not in config.stages or not config.evaluate.prompts:
    return
  names = ['base', 'sft', config.name, *candidates.given(config)]
  if config.evaluate.prompted.candidates:
    names.append(prompted.NAME)
  if config.evaluate.baseline not in names:
    yield (
      f'evaluate.baseline {config.evaluate.baseline!r} is no model of this '
      f'evaluation: choose of {", ".join(names)}'
    )
  folder = config.evaluate.people
  if not folder:
    return
  paths = [said_by_people(config, kind) for kind in ('comparisons', 'ratings')]
  if not any(paths):
    yield (
      f'evaluate.people: {folder} holds neither comparisons.jsonl nor '
      'ratings.jsonl: give the folder of an export'
    )
  try:
    if paths[0]:
      people.read(paths[0])
    if paths[1]:
      collections.deque(people.ratings(paths[1]), maxlen=0)
  except ValueError as error:
    yield str(error)


def _cases(
  one: Sequence[Response], other: Sequence[Response]
) -> Sequence[Case]:
  records = [written.row for written in one]
  return paired(records, _answers(one), _answers(other))


def _answers(written: Sequence[Response]) -> list[Answer]:
  return [Answer(w.text, w.length, w.ended) for w in written]


def _signs(difference: np.ndarray) -> np.ndarray:
  return 0.5 + 0.5 * np.sign(difference)


def _users(session: Session) -> set[str]:
  """Returns who wrote prompts that were trained on."""
  rows = inputs.prompts(session, 'ppo')
  users = (rows[i].get('user_id') for i in range(len(rows)))
  return {user for user in users if user}
