"""What an evaluation takes from the run whose models it is of."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.stages import candidates, reading, sources

NAME = 'evaluate'  # of the config that is for models of other runs
# Data and names must be those that the models were trained with; how held-out
# prompts and comparisons are shared out depends on the last three.
TAKEN = (
  *('name', 'seed', 'data', 'ppo.ema_decay', 'ppo.probe_prompts'),
  *('reward.validation_share', 'reward.heldout_labelers'),
)
COMPARED = ('reward.validation_share', 'reward.heldout_labelers')


def adopt(config: ConfigDict) -> ConfigDict:
  """Returns the config with the data and the name of the run in init.run.

  Without one, the tokenizer of the first of the models stands for the run's,
  and there are no held-out prompts.

  Raises:
    ValueError: if no run is there.
  """
  if config.name != NAME:
    return config
  config = config.copy_and_resolve_references()
  if config.init.run:
    theirs = _config_of(pathlib.Path(config.init.run))
    _take_all(config, theirs, TAKEN)
  elif config.evaluate.models and not config.init.sft:
    config.evaluate.prompts = 0
    config.tokenizer.folder = config.tokenizer.folder or _first(config)
  return config


def compared(config: ConfigDict, run: pathlib.Path) -> ConfigDict:
  """Returns the config under which the reward model's comparisons are split.

  It is this one where the run trains the reward model itself, or nothing is
  known of how it was trained; else it reads what the run of the reward model
  read, and splits it as that did.
  """
  folder = sources.source_folder(config, run, 'reward')
  if 'reward' in config.stages or folder is None:
    return config
  there = folder.parent
  if not (there / 'config.json').is_file():
    return config
  theirs = _config_of(there)
  config = config.copy_and_resolve_references()
  _take_all(config, theirs, COMPARED)
  files = tuple(theirs['data']['files']['comparisons'])
  if 'collect' in theirs['stages']:
    files += (str(there / 'collect' / reading.COMPARISONS),)
  config.data.files.comparisons = files
  curated = 'curate' in theirs['stages']
  config.init.run = str(there) if curated else theirs['init']['run']
  config.stages = ('evaluate',)  # what stands there is another run's
  return config


def _take_all(
  config: ConfigDict, theirs: Mapping[str, Any], keys: Iterable[str]
) -> None:
  for key in keys:
    *blocks, last = key.split('.')
    mine: Any = config
    found: Any = theirs
    for block in blocks:
      mine, found = mine[block], found.get(block, {})
    if last in found:  # runs of before may not have it
      _take(mine, {last: found[last]})


def _first(config: ConfigDict) -> str:
  folder = next(iter(candidates.given(config).values()))
  return str(
    folder if sources.open_weights(folder) else sources.tokenizer_of(folder)
  )


def _config_of(run: pathlib.Path) -> dict[str, Any]:
  path = run / 'config.json'
  try:
    return json.loads(path.read_bytes())
  except OSError as error:
    raise ValueError(
      f'{path}: no config of a run ({error.strerror}). Correct '
      '--config.init.run: it is the folder that was --workdir.'
    ) from error
  except ValueError as error:
    raise ValueError(
      f'{path}: no JSON ({error}). It was changed by hand: put it right.'
    ) from error


def _take(mine: ConfigDict, theirs: Mapping[str, Any]) -> None:
  """Sets what both have; lists of JSON are tuples here."""
  with mine.ignore_type():
    for key in theirs.keys() & set(mine):
      value = theirs[key]
      if isinstance(mine[key], ConfigDict) and isinstance(value, dict):
        _take(mine[key], value)
      else:
        mine[key] = tuple(value) if isinstance(value, list) else value
