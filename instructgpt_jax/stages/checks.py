"""Everything that can be known to be wrong before a run begins."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import jax
from ml_collections import ConfigDict

from instructgpt_jax.data import records
from instructgpt_jax.stages.session import INIT_KEYS, source_folder

KNOWN = ('pretrain', 'sft', 'collect', 'reward', 'ppo', 'evaluate')
# stage -> stages whose output it reads
NEEDS = {
  'sft': ('pretrain',),
  'collect': ('sft',),
  'reward': ('sft',),
  'ppo': ('sft', 'reward'),
  'evaluate': ('sft', 'reward'),
}
# stage -> kinds of JSON Lines it reads
FILES = {
  'pretrain': ('text',),
  'sft': ('demonstrations',),
  'collect': ('prompts',),
  'reward': ('comparisons', 'demonstrations'),
  'ppo': ('prompts',),
  'evaluate': ('prompts', 'text'),
}
SCHEMAS = {'heldout': 'prompts'}  # of other files than their kind says


def check(config: ConfigDict, mesh: jax.sharding.Mesh) -> None:
  """Raises ONE ValueError that lists all that is missing or does not fit."""
  problems = [
    *_stages(config),
    *_checkpoints(config),
    *_files(config),
    *_batches(config, mesh),
    *_lengths(config),
    *_values(config),
  ]
  if problems:
    lines = '\n'.join(f'  - {problem}' for problem in problems)
    raise ValueError(f'the config {config.name!r} cannot run:\n{lines}')


def _stages(config: ConfigDict) -> Iterator[str]:
  for stage in config.stages:
    if stage not in KNOWN:
      yield f'stage {stage!r} is unknown: choose from {", ".join(KNOWN)}'
  known = [stage for stage in config.stages if stage in KNOWN]
  if known != sorted(known, key=KNOWN.index) or len(set(known)) < len(known):
    yield f'stages must be in the order {", ".join(KNOWN)}, each once'
  if 'collect' in config.stages and config.data.source != 'world':
    yield (
      'collect needs labelers, whom only the embedded world simulates: leave '
      "'collect' out of stages and give data.files.comparisons"
    )


def _checkpoints(config: ConfigDict) -> Iterator[str]:
  needed = {
    before
    for stage in config.stages
    for before in NEEDS.get(stage, ())
    if stage != 'reward' or not config.init.reward_base
  }
  if 'sft' in config.stages and config.sft.select == 'reward':
    needed.add('reward')
  for stage in sorted(needed, key=KNOWN.index):
    folder = source_folder(config, pathlib.Path(), stage)
    if folder is None:
      yield (
        f'no trained {stage} model: give --config.init.{INIT_KEYS[stage]}='
        f'FOLDER (one that holds params/), or add {stage!r} to stages'
      )
    elif stage not in config.stages and not (folder / 'params').is_dir():
      yield f'{folder} holds no params/: give the stage folder of a run'
  base = config.init.reward_base
  given = 'reward' in config.stages and base
  if given and not (pathlib.Path(base) / 'params').is_dir():
    yield f'{base} holds no params/: give the stage folder of a run'
  same = config.model.to_dict() == config.reward_model.to_dict()
  starts = 'reward' in config.stages and not config.init.reward_base
  if starts and not same:
    yield (
      'the reward model differs in size from the policy, so it cannot start '
      'from the SFT model: give --config.init.reward_base=FOLDER'
    )


def _files(config: ConfigDict) -> Iterator[str]:
  if config.data.source == 'world':
    return
  if config.data.source != 'jsonl':
    yield f"data.source {config.data.source!r}: choose 'world' or 'jsonl'"
    return
  for kind in sorted(_kinds(config)):
    paths = config.data.files[kind]
    if not paths and kind != 'heldout':
      yield f'no {kind}: give --config.data.files.{kind}="(\'FILE.jsonl\',)"'
    for path in paths:
      if not pathlib.Path(path).is_file():
        yield f'{path} ({kind}) does not exist'
      elif kind != 'text':  # much the longest; the first stage reads it
        yield from _broken_line(path, kind)
  if config.tokenizer.kind == 'gpt2':
    for key in ('encoder', 'merges'):
      path = config.tokenizer[key]
      name = {'encoder': 'encoder.json', 'merges': 'vocab.bpe'}[key]
      if not path or not pathlib.Path(path).is_file():
        yield f'GPT-2 BPE needs --config.tokenizer.{key}=PATH/{name}'


def _kinds(config: ConfigDict) -> set[str]:
  """Returns the kinds of JSON Lines that the stages read."""
  kinds = {kind for stage in config.stages for kind in FILES.get(stage, ())}
  if 'sft' in config.stages and config.sft.pretrain_rows:
    kinds.add('text')
  if 'ppo' in config.stages and config.ppo.ptx_rows:
    kinds.add('text')
  if 'sft' in config.stages and config.sft.select == 'reward':
    kinds.add('prompts')
  return kinds | {'heldout'} if 'prompts' in kinds else kinds


def _broken_line(path: str, kind: str) -> Iterator[str]:
  """Yields what is wrong with a file, now rather than days into the run."""
  try:
    for _ in records.read_records(path, SCHEMAS.get(kind, kind)):
      pass
  except records.DataError as error:
    yield str(error)


def _batches(config: ConfigDict, mesh: jax.sharding.Mesh) -> Iterator[str]:
  ways = mesh.shape['data'] * mesh.shape['fsdp']
  used = {stage for stage in config.stages if stage in KNOWN}
  if 'ppo' in used or ('sft' in used and config.sft.select == 'reward'):
    used.add('evaluate')  # how many prompts are answered at once
  sizes = {
    f'{stage}.batch_size': config[stage].batch_size
    for stage in KNOWN
    if stage in used
  }
  if 'ppo' in config.stages:
    ppo = config.ppo
    sizes['ppo.minibatch_size'] = ppo.minibatch_size
    if ppo.batch_size % ppo.minibatch_size:
      yield (
        f'ppo.batch_size {ppo.batch_size} is not divisible by '
        f'ppo.minibatch_size {ppo.minibatch_size}'
      )
    if ppo.batch_size % ppo.rollout_parts:
      yield (
        f'ppo.batch_size {ppo.batch_size} is not divisible by '
        f'ppo.rollout_parts {ppo.rollout_parts}'
      )
  for name, size in sizes.items():
    if size % ways:
      yield f'{name} {size} is not divisible by data x fsdp = {ways}'
  for stage in ('pretrain', 'sft', 'reward', 'ppo'):
    if stage not in config.stages:
      continue
    rows = (
      config.ppo.minibatch_size
      if stage == 'ppo'
      else sizes[f'{stage}.batch_size']
    )
    parts = config[stage].microbatches
    if rows % (parts * ways):
      yield (
        f'{stage}: {rows} rows do not split into {parts} microbatches over '
        f'data x fsdp = {ways}'
      )


def _lengths(config: ConfigDict) -> Iterator[str]:
  data, longest = config.data, config.model.max_length
  whole = data.prompt_length + data.response_length
  if whole > longest:
    yield (
      f'data.prompt_length + data.response_length = {whole} exceeds '
      f'model.max_length = {longest}'
    )
  if data.row_length > longest:
    yield (
      f'data.row_length {data.row_length} exceeds model.max_length {longest}'
    )
  longest = config.reward_model.max_length
  read = {
    'reward.sequence_length': config.reward.sequence_length,
    'data.row_length': data.row_length,
    'data.prompt_length + data.response_length': whole,
  }
  for name, length in read.items():
    if length > longest:
      yield f'{name} {length} exceeds reward_model.max_length {longest}'


def _values(config: ConfigDict) -> Iterator[str]:
  bounds = config.collect.completions
  most = max(bounds, default=0)
  if len(bounds) != 2 or not 2 <= bounds[0] <= bounds[1]:
    yield (
      f'collect.completions {bounds}: give (fewest, most) with at least 2 '
      'completions to compare'
    )
  if most > config.reward.completions and 'collect' in config.stages:
    yield (
      f'reward.completions {config.reward.completions} is less than the '
      f'{most} that collect writes'
    )
  choices = {
    'sft.select': (
      config.sft.select,
      ('auto', 'validation_loss', 'reward', 'last'),
    ),
    'evaluate.weights': (config.evaluate.weights, ('ema', 'params')),
    'ppo.missing_eos_rule': (
      config.ppo.missing_eos_rule,
      ('replace', 'subtract', 'none'),
    ),
    'data.over_length': (config.data.over_length, ('drop', 'truncate_left')),
    'tokenizer.kind': (config.tokenizer.kind, ('train', 'gpt2', 'folder')),
  }
  for name, (value, known) in choices.items():
    if value not in known:
      yield f'{name} {value!r}: choose from {", ".join(known)}'
  if config.sft.select == 'reward' and 'reward' in config.stages:
    yield (
      "sft.select='reward' needs a reward model from before: give "
      '--config.init.reward and leave reward out of stages'
    )
  yield from _bounds(config)
  if bool(config.ppo.ptx_coef) != bool(config.ppo.ptx_rows):
    yield 'ppo.ptx_coef and ppo.ptx_rows must both be 0 or both be set'


def _bounds(config: ConfigDict) -> Iterator[str]:
  """Yields numbers that only a later stage would stumble over."""
  above_zero = {
    'collect.temperature': config.collect.temperature,
    'ppo.temperature': config.ppo.temperature,
    'data.validation_share': config.data.validation_share,
    'reward.validation_share': config.reward.validation_share,
  }
  for name, value in above_zero.items():
    if not value > 0:
      yield f'{name} {value} must be above 0'
    elif name.endswith('share') and value >= 1:
      yield f'{name} {value} must be below 1'
  if config.sft.select == 'reward' and not config.ppo.probe_prompts:
    yield 'sft.select reads ppo.probe_prompts prompts: give more than 0'
