"""What decides the outcome of a stage: the settings it is known by.

Where one of them changes, the stage is another one; where any other does,
what was done before still holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.runtime.run import SettingsChanged
from instructgpt_jax.stages import candidates, sources
from instructgpt_jax.stages.session import Session

# Blocks and values that every stage may depend on.
SHARED = ('seed', 'init', 'model', 'reward_model', 'data')
NO_MODEL = ('seed', 'data')  # of a stage that trains none and asks none
ALSO = {'labeler_cv': 'reward'}  # stages that read the block of another
# Settings of a stage that only end it early, or say who does the work.
FREE = ('limits', 'workers', 'url', 'enough', 'poll')


def stage_settings(session: Session, stage: str) -> dict[str, Any]:
  """Returns all that decides the outcome of a stage.

  The stages before it stand by the hash of their own settings, so a change
  up front is noticed all the way down.
  """
  config = session.config
  before = config.stages[: config.stages.index(stage)]
  values = config.to_dict()
  return {
    **{key: values[key] for key in _shared(stage)},
    'tokenizer': session.tokenizer.fingerprint(),
    'stop_ids': session.tokenizer.stop_ids,
    stage: _deciding(values[stage]),
    **{key: values[key] for key in filter(None, [ALSO.get(stage)])},
    **{key: config[key] for key in others(config, stage)},
    'after': {name: session.run.fingerprint(name) for name in before},
    'contents': sources.contents(config)
    | _trained(session, before)
    | (candidates.contents(config) if stage == 'evaluate' else {}),
  }


def _trained(session: Session, stages: Sequence[str]) -> dict[str, str]:
  """Returns hashes of what stages of this run trained.

  Adapters go on beside the weights they began beside, or not at all.
  """
  folders = {name: session.run.path / name / 'params' for name in stages}
  found = {name: sources.digest(folder) for name, folder in folders.items()}
  return {f'{name}/params': value for name, value in found.items() if value}


def _shared(stage: str) -> tuple[str, ...]:
  return NO_MODEL if stage == 'curate' else SHARED


def _deciding(settings: dict[str, Any]) -> dict[str, Any]:
  return {k: v for k, v in settings.items() if k not in FREE}


def others(config: ConfigDict, stage: str) -> Iterator[str]:
  """Yields what a stage reads of the blocks of others that decides it."""
  if stage in ('sft', 'reward', 'labeler_cv', 'ppo'):
    yield from ('lora.rank', 'lora.alpha', 'lora.targets')
  shared = config.data.source == 'world' or config.collect.labelers == 'web'
  if stage == 'ppo' and shared:
    yield from ('collect.prompts', 'collect.skip')  # the first are of collect
  if stage == 'evaluate':
    yield from ('name', 'ppo.ema_decay')  # what the policy is called
    # What the reward model never saw.
    yield from ('reward.validation_share', 'reward.heldout_labelers')
  if stage == 'evaluate' or (stage == 'sft' and config.sft.select == 'reward'):
    yield 'ppo.probe_prompts'  # how held-out prompts are shared out


def done_besides(session: Session, known: Sequence[str]) -> Iterator[str]:
  """Yields stages that are done in the folder, but not in config.stages.

  Only those that this config would have given: the report of a part of the
  stages says all that is known. `known` are the stages there are, in order.
  """
  config, run = session.config.copy_and_resolve_references(), session.run
  asked = config.stages
  config.stages = tuple(
    s for s in known if s in asked or (run.path / s / 'DONE').exists()
  )
  whole = dataclasses.replace(session, config=config)
  for stage in config.stages:
    if stage not in asked:
      try:
        run.stage_status(stage, stage_settings(whole, stage))
      except SettingsChanged:
        return  # nor are those after it
      yield stage
