"""Models judged on held-out prompts and asked tasks; the report of the run."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from instructgpt_jax.evals.model import CannotAnswerError
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import (
  benchmarks,
  candidates,
  judging,
  keeping,
  preferring,
  prompted,
  reward_tables,
)
from instructgpt_jax.stages.session import Session


def run(session: Session) -> dict[str, Any]:
  """Returns the part of report.json that evaluation gives.

  Models are asked one after another: one is on the devices at a time.
  """
  folders = {
    name: pathlib.Path(folder)
    for name, folder in distributed.decide(lambda: _folders(session)).items()
  }
  found: dict[str, Any] = {}
  if session.config.evaluate.prompts:
    found = _held_out(session, folders)
  if session.config.evaluate.tasks:
    found |= benchmarks.run(session, folders, found.get('prefix'))
  return found


def _held_out(
  session: Session, folders: Mapping[str, pathlib.Path]
) -> dict[str, Any]:
  """Returns what models do on held-out prompts, and of the reward model."""
  kept = keeping.Kept(session)
  found: dict[str, Any] = {}
  models: dict[str, judging.Written] = {}
  left_out = {}
  for name, folder in folders.items():
    try:
      models[name] = judging.written(session, name, folder, kept)
    except CannotAnswerError as error:
      left_out[name] = str(error)
  if 'base' in models and session.config.evaluate.prompted.candidates:
    found['prefix'] = prompted.chosen(session, folders['base'], kept)
    models[prompted.NAME] = prompted.written(
      session, folders['base'], found['prefix']['text'], models['base'], kept
    )
  judged = judging.judged(session, models, kept)
  found |= judging.summary(judged)
  found |= preferring.run(session, judged, left_out)
  found['reward_model'] = reward_tables.run(
    session, benchmarks.task_settings(session.config, 0), kept
  )
  return found


def _folders(session: Session) -> dict[str, str]:
  """Returns {name in the report: folder of params} of all models."""
  own = candidates.of_run(session.config, session.run.path)
  return {name: str(folder) for name, (_, folder) in own.items()} | {
    name: str(folder)
    for name, folder in candidates.given(session.config).items()
  }
