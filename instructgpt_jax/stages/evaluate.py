"""Models judged on held-out prompts and asked tasks; the report of the run."""

from __future__ import annotations

import pathlib
from typing import Any

from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import (
  benchmarks,
  candidates,
  judging,
  preferring,
  prompted,
  reward_tables,
)
from instructgpt_jax.stages.session import Session


def run(session: Session) -> dict[str, Any]:
  """Returns the part of report.json that evaluation gives.

  Models are judged one after another, so that only one is on the devices.
  """
  config = session.config
  folders = {
    name: pathlib.Path(folder)
    for name, folder in distributed.decide(lambda: _folders(session)).items()
  }
  found: dict[str, Any] = {}
  if config.evaluate.prompts:
    judged = judging.run(session, folders)
    if 'base' in judged and config.evaluate.prompted.candidates:
      model = benchmarks.engine(session, 'base', folders['base'])
      prefix, scores = prompted.chosen(session, model)
      found['prefix'] = {'text': prefix, 'reward_scores': scores}
      before = prompted.Prompted(model, prefix)
      judged[prompted.NAME] = prompted.judge(session, before, judged['base'])
    found |= judging.summary(judged) | preferring.run(session, judged)
    found['reward_model'] = reward_tables.run(
      session, benchmarks.task_settings(config, 0)
    )
  if config.evaluate.tasks:
    found |= benchmarks.run(session, folders, found.get('prefix'))
  return found


def _folders(session: Session) -> dict[str, str]:
  """Returns {name in the report: folder of params} of all models."""
  own = candidates.of_run(session.config, session.run.path)
  return {name: str(folder) for name, (_, folder) in own.items()} | {
    name: str(folder)
    for name, folder in candidates.given(session.config).items()
  }
