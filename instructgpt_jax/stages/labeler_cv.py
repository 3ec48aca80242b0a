"""How well reward models know labelers whose answers they never saw.

InstructGPT 4.1, E.2: labelers are dealt into groups, and a reward model is
trained on all but one of them, for each group and for several seeds. Both
accuracies are over validation prompts, of which no model has seen any.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import pipeline, records
from instructgpt_jax.evals import intervals
from instructgpt_jax.runtime import distributed, interrupts
from instructgpt_jax.runtime.run import write_json
from instructgpt_jax.stages import accuracy, inputs, reward
from instructgpt_jax.stages.session import Session

RESULT = 'result.json'  # of one model, which is not trained again
WHOSE = ('seen', 'heldout')


def run(session: Session) -> dict[str, Any]:
  """Returns the mean accuracies of all models, with their 95% intervals.

  Raises:
    DataError: for fewer labelers than groups.
  """
  settings = session.config.labeler_cv
  train = inputs.comparisons(session, 'train')
  kept = inputs.comparisons(session, 'validation')
  whose = [np.array([row['labeler'] for row in rows]) for rows in (train, kept)]
  found = []
  for seed in range(settings.seeds):
    for number, group in enumerate(deal(whose[0], settings.groups, seed)):
      interrupts.leave_if_asked()
      parts = [
        _parted(rows, who, group)
        for rows, who in zip((train, kept), whose, strict=True)
      ]
      found.append(_model(session, f'{seed}-{number}', seed, *parts))
  return _summary(found) | {'models': len(found)}


def deal(labelers: np.ndarray, groups: int, seed: int) -> list[list[str]]:
  """Returns the names in groups that have about equally many comparisons.

  Raises:
    DataError: for fewer names than groups; those without a name are nobody.
  """
  names, counts = np.unique(labelers[labelers != ''], return_counts=True)
  if len(names) < groups:
    raise records.DataError(
      f'labeler_cv.groups {groups}, but the comparisons to train on are of '
      f'{len(names)} labelers. Lower it, or give comparisons with `labeler`.'
    )
  dealt: list[list[str]] = [[] for _ in range(groups)]
  sizes = np.zeros(groups)
  for at in np.random.default_rng(seed).permutation(len(names)):
    smallest = min(range(groups), key=lambda g: (sizes[g], len(dealt[g])))
    dealt[smallest].append(str(names[at]))
    sizes[smallest] += counts[at]
  return dealt


def _parted(
  rows: Any, labelers: np.ndarray, group: Sequence[str]
) -> tuple[pipeline.Picked, pipeline.Picked]:
  """Returns the rows of all others, and those of the group."""
  theirs = np.isin(labelers, group)
  others = ~theirs & (labelers != '')
  return (
    pipeline.Picked(rows, np.flatnonzero(others)),
    pipeline.Picked(rows, np.flatnonzero(theirs)),
  )


def _model(
  session: Session, name: str, seed: int, train: Any, kept: Any
) -> dict[str, Any]:
  """Returns both accuracies of one model, trained now or before."""
  folder = session.run.folder(f'labeler_cv/{name}')
  before = distributed.decide(lambda: _read(folder / RESULT))
  if before is not None:
    return before
  config = session.config.copy_and_resolve_references()
  config.seed += seed
  own = dataclasses.replace(session, config=config)
  model, params = reward.fit(own, f'labeler_cv/{name}', train[0])
  found: dict[str, Any] = {}
  for who, rows in zip(WHOSE, kept, strict=True):
    found[f'{who}_prompts'] = len(rows)
    if len(rows):
      found[who] = accuracy.on(own, model, params, rows)['accuracy']
  distributed.decide(lambda: _keep(folder, found))
  return found


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  return json.loads(path.read_bytes()) if path.is_file() else None


def _keep(folder: pathlib.Path, found: dict[str, Any]) -> None:
  write_json(folder / RESULT, found)
  shutil.rmtree(folder / 'checkpoints', ignore_errors=True)  # many, and large


def _summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
  """Returns means over models; groups without prompts say nothing."""
  summary = {}
  for who in WHOSE:
    values = [one[who] for one in found if who in one]
    if values:
      summary[who] = intervals.mean_interval(values).as_dict()
  return summary
