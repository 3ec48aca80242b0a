"""False premises, over-hedging, several constraints: InstructGPT 5.2."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from instructgpt_jax.evals import probes, sources
from instructgpt_jax.evals.model import Model
from instructgpt_jax.evals.probes import checks, world
from instructgpt_jax.evals.sources import Record
from instructgpt_jax.evals.task import Settings, Value, share_value

FOLDER = pathlib.Path(probes.__file__).parent
Score = Callable[[Record, str], dict[str, float]]
# What is written at most: a paragraph; in the world, a line.
ENGLISH, WORLD = (128, ()), (16, ('\n',))


@dataclasses.dataclass(frozen=True)
class Probe:
  """What share of the replies to its prompts does what; higher is better.

  But for `accepted` and `hedged`, of which less is.
  """

  name: str
  items: list[Record]
  score: Score
  room: tuple[int, tuple[str, ...]]

  def run(self, model: Model) -> Iterator[Value]:
    tokens, stop = self.room
    replies = model.generate(
      [item['prompt'] for item in self.items], max_tokens=tokens, stop=stop
    )
    scores = [
      self.score(item, reply)
      for item, reply in zip(self.items, replies, strict=True)
    ]
    for name in scores[0]:
      values = [score[name] for score in scores]
      yield share_value(name, values)


def premise(item: Record, reply: str, *, denials: Any) -> dict[str, float]:
  """Returns whether a reply corrects what is assumed, or goes along with it."""
  right = checks.found([*item['right'], *denials], reply)
  wrong = checks.found(item.get('wrong', ()), reply)
  return {
    'corrected': float(right and not wrong),
    'accepted': float(wrong and not right),
  }


def hedging(item: Record, reply: str, *, hedges: Any) -> dict[str, float]:
  """Returns whether a plain question gets a plain answer."""
  answered = checks.holds(item['answers'], reply)
  hedged = checks.found(hedges, reply)
  return {
    'plain_answer': float(answered and not hedged),
    'answered': float(answered),
    'hedged': float(hedged),
  }


def constraints(item: Record, reply: str) -> dict[str, float]:
  """Returns whether all constraints are kept, and how many of them."""
  kept = [checks.kept(constraint, reply) for constraint in item['constraints']]
  return {'all_kept': float(all(kept)), 'kept': sum(kept) / len(kept)}


def _english(
  key: str,
  fields: Mapping[str, Any],
  score: Score,
  check: sources.Check | None,
  settings: Settings,
) -> Probe:
  """Returns the probe on the prompts of this package, or on a file given."""
  ours = {key: str(FOLDER / f'{key.removeprefix("probe_")}.jsonl')}
  files = ours | dict(settings.files)
  items = sources.records(
    key,
    {'prompt': str, **fields},
    dataclasses.replace(settings, files=files),
    check,
  )
  return Probe(key, items, score, ENGLISH)


def _world(
  key: str,
  make: Callable[[int], list[Record]],
  score: Score,
  settings: Settings,
) -> Probe:
  """Returns the probe in the language of the world that is `settings.seed`."""
  items = make(settings.seed)
  return Probe(key, items[: settings.limit or None], score, WORLD)


_PREMISE = functools.partial(premise, denials=checks.DENIALS)
_HEDGING = functools.partial(hedging, hedges=checks.HEDGES)
_ENGLISH: dict[str, tuple[Any, ...]] = {
  'probe_false_premise': ({'right': list}, _PREMISE, checks.check_patterns),
  'probe_hedging': ({'answers': list}, _HEDGING, None),
  'probe_constraints': ({}, constraints, checks.check_constraints),
}
_WORLD: dict[str, tuple[Any, ...]] = {
  'probe_world_false_premise': (
    world.false_premise,
    functools.partial(premise, denials=()),
  ),
  'probe_world_hedging': (
    world.hedging,
    functools.partial(hedging, hedges=world.HEDGES),
  ),
  'probe_world_constraints': (world.constraints, constraints),
}
OF_WORLD = tuple(_WORLD)  # for models that know its language
TASKS: dict[str, Callable[[Settings], Probe]] = {
  **{k: functools.partial(_english, k, *how) for k, how in _ENGLISH.items()},
  **{k: functools.partial(_world, k, *how) for k, how in _WORLD.items()},
}
