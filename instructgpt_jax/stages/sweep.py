"""One command, several PPO runs that differ in one setting, one page."""

from __future__ import annotations

import pathlib
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import compare, experiment

LAST = ('ppo', 'evaluate')  # what is done for each value; the rest once


def run(config: ConfigDict, workdir: str) -> None:
  """Runs WORKDIR/shared, WORKDIR/KEY_VALUE for each value, and compares them.

  The same command goes on with what is not done yet.

  Raises:
    ValueError: for a key or values that no run has.
  """
  folder, runs = pathlib.Path(workdir), variants(config, workdir)
  before = config.run.copy_and_resolve_references()
  before.stages = tuple(s for s in before.stages if s not in LAST)
  if before.stages:
    experiment.run(before, str(folder / 'shared'))
  for name, variant in runs.items():
    experiment.say(f'{config.key} = {name.rpartition("_")[2]}')
    experiment.run(variant, str(folder / name))
  if distributed.is_main():
    compare.write([folder / name for name in runs], folder, x=config.key)


def variants(config: ConfigDict, workdir: str) -> dict[str, ConfigDict]:
  """Returns {folder: config} of the runs, one for each value."""
  *blocks, last = config.key.split('.')
  found = {}
  for value in config['values']:
    variant = config.run.copy_and_resolve_references()
    variant.stages = tuple(s for s in variant.stages if s in LAST)
    if len(variant.stages) < len(config.run.stages):
      variant.init.run = str(pathlib.Path(workdir) / 'shared')
    block: Any = variant
    for name in blocks:
      block = block.get(name, {})
    if last not in block:
      raise ValueError(f'{config.key} is no setting of a run: correct the key')
    try:
      block[last] = value
    except TypeError as error:
      raise ValueError(f'{config.key} cannot be {value!r}: {error}') from error
    if config.key == 'ppo.ptx_coef' and not value:
      variant.ppo.ptx_rows = 0  # no text is read for nothing
    found[f'{last}_{value}'] = variant
  if not found:
    raise ValueError('values is empty: give --config.values="(0.1, 0.2)"')
  return found
