"""How often each model is preferred to a baseline, by every judge there is."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from instructgpt_jax import simulation
from instructgpt_jax.evals import intervals, remote
from instructgpt_jax.evals.preference import likert, people, win_rate
from instructgpt_jax.evals.preference.cases import Answer, Case, paired
from instructgpt_jax.evals.preference.chat_judge import ChatJudge
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import inputs
from instructgpt_jax.stages.judging import Judged
from instructgpt_jax.stages.responses import Response
from instructgpt_jax.stages.session import Session

REWARD = 'reward model'  # which the policy was trained on


def run(session: Session, judged: Mapping[str, Judged]) -> dict[str, Any]:
  """Returns report['preference'], and ['ratings'] where people gave any.

  {'baseline', 'judges': {judge: {model: win_rate.table}}}; 'gold_parts' of the
  embedded world are {model: {part: interval}}.
  """
  seen = _users(session)  # a decision of its own: not within the other
  return distributed.decide(
    lambda: _found(session, judged, seen), seconds=distributed.LONG
  )


def _found(
  session: Session, judged: Mapping[str, Judged], seen: set[str]
) -> dict[str, Any]:
  config = session.config
  baseline = config.evaluate.baseline
  found: dict[str, Any] = {}
  if baseline in judged:
    others = [name for name in judged if name != baseline]
    judges: dict[str, dict[str, Any]] = {}
    for name in others:
      for judge, cases, said in _verdicts(session, judged, name, baseline):
        judges.setdefault(judge, {})[name] = win_rate.table(
          cases, said, seen_users=seen, seed=config.seed
        )
    found['preference'] = {'baseline': baseline, 'judges': judges}
  if config.data.source == 'world':
    found['gold_parts'] = {n: _parts(j.sampled) for n, j in judged.items()}
  folder = config.evaluate.people
  if folder and (pathlib.Path(folder) / 'ratings.jsonl').is_file():
    ratings = people.ratings(pathlib.Path(folder) / 'ratings.jsonl')
    found['ratings'] = likert.table(ratings, seed=config.seed)
  return found


def _verdicts(
  session: Session, judged: Mapping[str, Judged], name: str, baseline: str
) -> list[tuple[str, Sequence[Case], np.ndarray]]:
  """Returns (judge, cases, preferences) of each judge."""
  one, other = judged[name], judged[baseline]
  records = [written.row for written in one.sampled]
  cases = paired(records, _answers(one.sampled), _answers(other.sampled))
  found: list[tuple[str, Sequence[Case], np.ndarray]] = []
  if one.gold is not None and other.gold is not None:
    found.append(('gold score', cases, _signs(one.gold - other.gold)))
  found.append((REWARD, cases, _signs(one.reward - other.reward)))
  judge = session.config.evaluate.judge
  if judge.url:
    kept = session.run.folder('evaluate') / 'judge.jsonl'
    server = remote.Remote(
      judge.url,
      headers=remote.bearer(judge.key),
      answers=remote.Answers(kept),
    )
    said = ChatJudge(server, judge.model).preferences(cases)
    found.append((judge.model, cases, said))
  folder = session.config.evaluate.people
  if folder:
    path = pathlib.Path(folder) / 'comparisons.jsonl'
    found.append(('people', *people.comparisons(path, name, baseline)))
  return found


def _answers(written: Sequence[Response]) -> list[Answer]:
  return [Answer(w.text, w.length, w.ended) for w in written]


def _signs(difference: np.ndarray) -> np.ndarray:
  return 0.5 + 0.5 * np.sign(difference)


def _users(session: Session) -> set[str]:
  """Returns who wrote prompts that were trained on."""
  rows = inputs.prompts(session, 'ppo')
  users = (rows[i].get('user_id') for i in range(len(rows)))
  return {user for user in users if user}


def _parts(written: Sequence[Response]) -> dict[str, Any]:
  """Returns the parts of the gold score with their intervals."""
  gold = [simulation.gold(w.row, w.text, w.ended) for w in written]
  return {
    part: intervals.mean_interval([getattr(g, part) for g in gold]).as_dict()
    for part in ('correct', 'constraint', 'brevity', 'politeness')
  }
