"""The settings of a model come from the folder it starts from.

`adopt` fills them into the config, so that the run's config.json holds them
in full. A folder of open weights always decides; the stage folder of a run
does where `preset` of the model is 'init'.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.models import pretrained
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.runtime import checkpoint
from instructgpt_jax.stages import session, sources

# Ours to choose, whatever the folder was made with.
OURS = (
  *('preset', 'dtype', 'param_dtype', 'scan_layers', 'vocab_multiple'),
  *('remat', 'remat_saved', 'attention', 'embed_init', 'position_init'),
)
# Which block of the config is the model of what a run starts from.
MODELS = {
  'pretrain': 'model',
  'sft': 'model',
  'reward': 'reward_model',
  'reward_base': 'reward_model',
  'value': 'reward_model',
  'collect': 'model',
}


def adopt(config: ConfigDict) -> ConfigDict:
  """Returns the config with all that the folders of init decide.

  What cannot be read is left as it is: `problems` says why.
  """
  config = config.copy_and_resolve_references()
  key = sources.policy_key(config)
  if config.init.policy and not config.init[key]:
    config.init[key] = config.init.policy
  settled = set()
  for role, folder in sources.starts(config).items():
    name = MODELS[role]
    if name in settled or role == 'value':  # which follows the reward model
      continue
    if config[name].preset == 'init' or sources.open_weights(folder):
      found = saved_settings(folder)
      if found is not None:
        _fill(config[name], found)
        settled.add(name)
  trained = {'reward', 'labeler_cv'} & {*config.stages}
  after_policy = trained and not config.init.reward_base
  follows = after_policy or config.reward_model.preset == 'init'
  if 'model' in settled and 'reward_model' not in settled and follows:
    _fill(config.reward_model, config.model.to_dict())
  words = sources.tokenizer_folder(config)
  if config.tokenizer.kind == 'folder' and words is not None:
    config.tokenizer.folder = str(words)
  return config


def saved_settings(folder: pathlib.Path) -> dict[str, Any] | None:
  """Returns the settings of the model in a folder, None if unreadable."""
  try:
    if sources.open_weights(folder):
      cfg, _ = pretrained.load_config(folder)
      return dataclasses.asdict(cfg)
    folder = sources.params_folder(folder)
    return checkpoint.load_metadata(folder)['model']
  except (ValueError, OSError):
    return None


def told(config: ConfigDict, tokenizer: Tokenizer) -> Iterator[str]:
  """Yields a line for each model that a run takes from outside.

  Then what its tokenizer does that nobody asked for.
  """
  for role, given in sources.starts(config).items():
    folder, ours = sources.start_folder(role, given), config[MODELS[role]]
    if not sources.holds_model(folder):  # nor is it needed
      continue
    origin, cfg = sources.origin(folder), _read(folder)
    family = 'own' if origin is None else pretrained.load_config(origin)[1]
    yield (
      f'{role}: {family}, {cfg.layers} layers, width {cfg.width}, vocabulary '
      f'{cfg.vocab_size:,}, {ours.dtype} (weights {ours.param_dtype}), from '
      f'{folder}'
    )
    if sources.open_weights(folder) and not sources.has_tokenizer(folder):
      yield f'no tokenizer in {folder}: taken to share that of this run'
  names = [tokenizer.decode([i], keep_special=True) for i in tokenizer.stop_ids]
  if len(names) > 1:
    ends = ', '.join(map(repr, names))
    yield f'a response ends at {ends}, as generation_config.json says'
  if not tokenizer.has_pad:
    yield (
      f'the tokenizer names no pad that the model has: {names[0]!r} stands for '
      'it, which changes nothing here; "pad_token" in its '
      'tokenizer_config.json names one'
    )


def _fill(settings: ConfigDict, found: dict[str, Any]) -> None:
  """Sets every setting that is the model's own."""
  with settings.ignore_type():
    for key in settings:
      if key in found and key not in (*OURS, 'rotary_scaling'):
        value = found[key]
        settings[key] = tuple(value) if isinstance(value, list) else value
    settings.preset = ''
    scaling = found.get('rotary_scaling') or {'kind': ''}
    settings.rotary_scaling.update(scaling)


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the folders of an adopted config."""
  yield from _given_twice(config)
  for role, given in sources.starts(config).items():
    folder = sources.start_folder(role, given)
    if sources.holds_model(folder):
      yield from _start(config, role, folder)
    elif sources.holds_model(given):  # that it does not is said elsewhere
      yield f'{folder} was never finished: run its stage to the end'
  if not any(config[name].preset == 'init' for name in MODELS.values()):
    return
  if 'pretrain' in config.stages and not sources.starts(config):
    yield (  # without it, that a start is missing is said already
      "model.preset 'init' takes the model from a folder: give "
      '--config.init.policy=FOLDER, or another preset'
    )


def _given_twice(config: ConfigDict) -> Iterator[str]:
  init, key = config.init, sources.policy_key(config)
  if init.policy and 'pretrain' in config.stages:
    yield "init.policy starts after 'pretrain': leave that out of stages"
  elif init.policy and init[key] != init.policy:
    yield f'init.policy stands for init.{key} here: give one of them'
  for stage, name in sources.INIT_KEYS.items():
    if init[name] and stage in config.stages and init[name] != init.policy:
      yield (
        f'init.{name} stands for the output of {stage}, which is in stages: '
        'leave one of them out'
      )


def _start(
  config: ConfigDict, role: str, folder: pathlib.Path
) -> Iterator[str]:
  """Yields why what is in a folder is not what `role` starts from."""
  unlike = list(_unlike(config, MODELS[role], folder))
  if unlike:
    yield from unlike
    return
  opened = sources.open_weights(folder)
  try:
    scalar = sources.has_score(folder)
    wrong = _wrong_kind(config, role, folder, scalar)
    if wrong:
      yield wrong
    elif opened:
      pretrained.check_weights(folder, scalar)
  except (ValueError, OSError) as error:
    yield _in_one_line(error)


def _wrong_kind(
  config: ConfigDict, role: str, folder: pathlib.Path, scalar: bool
) -> str:
  """Returns what is wrong with a scalar model, or none, in this role."""
  if role in ('reward', 'value') and not scalar:
    if sources.open_weights(folder):
      return (
        f'{folder} has no score.weight: init.{role} needs a model for sequence '
        'classification with one label'
      )
    return (
      f'{folder} is a language model: init.{role} needs a reward model or '
      'value net, such as RUN/reward or RUN/ppo/value'
    )
  if role in ('pretrain', 'sft', 'collect') and scalar:
    key = sources.INIT_KEYS.get(role, role)
    key = 'policy' if config.init.policy and role != 'collect' else key
    return (
      f'{folder} is a reward model or value net: init.{key} needs a language '
      'model, such as RUN/sft or RUN/ppo/ema'
    )
  return ''


def _in_one_line(error: Exception) -> str:
  head, *lines = str(error).splitlines()
  return f'{head} {"; ".join(line.strip() for line in lines)}'.strip()


def _read(folder: pathlib.Path) -> ModelConfig:
  if sources.open_weights(folder):
    return pretrained.load_config(folder)[0]
  return ModelConfig(**checkpoint.load_metadata(folder)['model'])


def _unlike(
  config: ConfigDict, name: str, folder: pathlib.Path
) -> Iterator[str]:
  """Yields why the model in a folder is not that of the config block `name`."""
  opened, settings = sources.open_weights(folder), config[name]
  try:
    cfg = _read(folder)
  except ValueError as error:
    yield _in_one_line(error)
    return
  try:
    wanted = session.make_model_config(settings, cfg.vocab_size, 0.0)
  except ValueError:
    return  # what is wrong with the settings is said where they are checked
  differ = session.unlike(cfg, wanted)
  if differ:
    fix = '' if opened else f": --config.{name}.preset=init takes the folder's"
    yield f'{folder} is another model than the rest: {"; ".join(differ)}{fix}'
