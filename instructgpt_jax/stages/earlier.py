"""What an evaluation takes from the run whose models it is of."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.stages import candidates, sources

NAME = 'evaluate'  # of the config that is for models of other runs
# Data and names must be those that the models were trained with; how held-out
# prompts are shared out depends on the last.
TAKEN = ('name', 'seed', 'data', 'ppo.ema_decay', 'ppo.probe_prompts')


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
    for key in TAKEN:
      *blocks, last = key.split('.')
      mine, found = config, theirs
      for block in blocks:
        mine, found = mine[block], found[block]
      _take(mine, {last: found[last]})
  elif config.evaluate.models and not config.init.sft:
    config.evaluate.prompts = 0
    config.tokenizer.folder = config.tokenizer.folder or _first(config)
  return config


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
