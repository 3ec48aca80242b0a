"""Everything that can be known to be wrong before a run begins."""

from __future__ import annotations

import collections
import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import jax
from ml_collections import ConfigDict

from instructgpt_jax import offload, sharding
from instructgpt_jax.data import builders, records
from instructgpt_jax.models import kernels
from instructgpt_jax.stages import (
  adopt,
  benchmarks,
  bounds,
  curating,
  labelers,
  layouts,
  mixture,
  needs,
  vocabulary,
)
from instructgpt_jax.stages.session import make_model_config

KNOWN = (
  *('curate', 'pretrain', 'sft', 'collect', 'reward', 'labeler_cv'),
  *('ppo', 'evaluate'),
)
# stage -> kinds of JSON Lines it reads
FILES = {
  'pretrain': ('text',),
  'sft': ('demonstrations',),
  'collect': ('prompts',),
  'reward': ('comparisons', 'demonstrations'),
  'labeler_cv': ('comparisons',),
  'ppo': ('prompts',),
  'evaluate': ('prompts', 'text'),
}
SCHEMAS = {'heldout': 'prompts'}  # of other files than their kind says


def check(config: ConfigDict, mesh: jax.sharding.Mesh) -> None:
  """Raises ONE ValueError that lists all that is missing or does not fit."""
  problems = [
    *stages(config),
    *needs.problems(config),
    *_files(config),
    *mixture.problems(config),
    *curating.problems(config),
    *adopt.problems(config),
    *benchmarks.problems(config),
    *vocabulary.problems(config),
    *settings(config, mesh, mesh.devices.flat[0].platform),
  ]
  if not any(bounds.problems(config)):
    problems += batches(config, mesh)
  refuse(config, problems)


def settings(
  config: ConfigDict, mesh: jax.sharding.Mesh, platform: str
) -> Iterator[str]:
  """Yields what is wrong with the settings, for which no file is read.

  All but `stages` and `batches`. `platform` is that of the devices the run is
  for.
  """
  wrong = list(bounds.problems(config))
  yield from wrong
  yield from layouts.problems(config)
  if not wrong:  # else there is nothing to reckon with
    yield from _lengths(config)
    yield from _offload(config, mesh)
    yield from _together(config)
    yield from _attention(config, platform)


def refuse(config: ConfigDict, problems: Sequence[str]) -> None:
  """Raises ONE ValueError that lists the problems, if there are any."""
  if problems:
    lines = '\n'.join(f'  - {problem}' for problem in problems)
    raise ValueError(f'the config {config.name!r} cannot run:\n{lines}')


def check_folder(workdir: str) -> None:
  """Makes the folder of a run; raises ValueError if none can write there."""
  folder = pathlib.Path(workdir).absolute()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
      pass
  except OSError as error:
    reason = 'a file' if folder.is_file() else error.strerror
    raise ValueError(
      f'{folder}: no run can write there ({reason}). Put that right or choose '
      'another --workdir.'
    ) from error


def stages(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the list of stages."""
  if not config.stages:
    yield f'stages is empty: choose from {", ".join(KNOWN)}'
  for stage in config.stages:
    if stage not in KNOWN:
      yield f'stage {stage!r} is unknown: choose from {", ".join(KNOWN)}'
  known = [stage for stage in config.stages if stage in KNOWN]
  if known != sorted(known, key=KNOWN.index) or len(set(known)) < len(known):
    yield f'stages must be in the order {", ".join(KNOWN)}, each once'
  yield from labelers.problems(config)


def _files(config: ConfigDict) -> Iterator[str]:
  if config.data.source == 'world' and config.data.files.comparisons:
    yield from _file(config, 'comparisons')  # of earlier rounds
  if config.data.source == 'jsonl':
    for kind in sorted(_kinds(config)):
      yield from _file(config, kind)
  if config.tokenizer.kind == 'gpt2':
    for key in ('encoder', 'merges'):
      path = config.tokenizer[key]
      name = {'encoder': 'encoder.json', 'merges': 'vocab.bpe'}[key]
      if not path or not pathlib.Path(path).is_file():
        yield f'GPT-2 BPE needs --config.tokenizer.{key}=PATH/{name}'


def _file(config: ConfigDict, kind: str) -> Iterator[str]:
  paths = config.data.files[kind]
  made = kind == 'comparisons' and 'collect' in config.stages
  made = made or kind == 'heldout' or curating.gives(config, kind)
  if not paths and not made:
    yield f'no {kind}: give --config.data.files.{kind}="(\'FILE.jsonl\',)"'
  missing = [path for path in paths if not pathlib.Path(path).exists()]
  for path in missing:
    yield f'{path} ({kind}) does not exist'
  if paths and not missing:
    try:
      _read(config, kind, paths)
    except records.DataError as error:
      yield str(error)


def _read(config: ConfigDict, kind: str, paths: Sequence[str]) -> None:
  """Raises DataError for what is wrong, now rather than days into the run."""
  found = records.read_records(paths, SCHEMAS.get(kind, kind))
  if kind == 'text':  # much the longest: the first stage reads it
    next(found)
  elif kind != 'comparisons':
    collections.deque(found, maxlen=0)
  else:
    most, ranked = config.reward.completions, False
    for record, where in found:
      builders.check_completions(record, where, most)
      ranked = ranked or not records.all_tied(record['ranks'])
    if not ranked:
      raise records.DataError(
        f'{", ".join(paths)}: all ranks of every comparison are tied. Give '
        'comparisons that prefer something.'
      )


def _kinds(config: ConfigDict) -> set[str]:
  """Returns the kinds of JSON Lines that the stages read."""
  judged = bool(config.evaluate.prompts)
  reading = (s for s in config.stages if judged or s != 'evaluate')
  kinds = {kind for stage in reading for kind in FILES.get(stage, ())}
  if 'sft' in config.stages and config.sft.pretrain_rows:
    kinds.add('text')
  if 'ppo' in config.stages and config.ppo.ptx_rows:
    kinds.add('text')
  if 'sft' in config.stages and config.sft.select == 'reward':
    kinds.add('prompts')
  return kinds | {'heldout'} if 'prompts' in kinds else kinds


def batches(config: ConfigDict, mesh: jax.sharding.Mesh) -> Iterator[str]:
  """Yields which batch does not divide over the mesh, its stage first.

  Those of sft need not: they are filled up.
  """
  words, ways = sharding.batch_ways(mesh)
  used = {stage for stage in config.stages if stage in KNOWN}
  if 'labeler_cv' in used:
    used.add('reward')  # the settings are those of reward
  used -= {'sft', 'curate', 'labeler_cv'}
  if 'ppo' in used or (
    'sft' in config.stages and config.sft.select == 'reward'
  ):
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
  for name, size in sizes.items():
    if size % ways:
      yield f'{name} {size} is not divisible by {words} = {ways}'


def _offload(config: ConfigDict, mesh: jax.sharding.Mesh) -> Iterator[str]:
  if config.offload.frozen and config.lora.rank:
    yield (
      'offload.frozen: with adapters every step reads the weights they stand '
      'beside, and none of them waits: set it to False'
    )
  if config.offload.optimizer or config.offload.frozen:
    try:
      offload.check(mesh)
    except ValueError as error:
      yield str(error)


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


def _attention(config: ConfigDict, platform: str) -> Iterator[str]:
  """Yields whose attention names a kernel that these devices cannot run."""
  for name in ('model', 'reward_model'):
    made = make_model_config(config[name], vocab_size=1, dropout=0.0)
    reason = kernels.obstacle(made, platform)
    if reason is not None:
      yield f'{name}.{reason}'


def _together(config: ConfigDict) -> Iterator[str]:
  """Yields settings that cannot stand together."""
  sft, ppo = config.sft, config.ppo
  if sft.select == 'reward' and 'reward' in config.stages:
    yield (
      "sft.select='reward' needs a reward model from before: give "
      '--config.init.reward and leave reward out of stages'
    )
  if sft.select == 'reward' and not ppo.probe_prompts:
    yield 'sft.select reads ppo.probe_prompts prompts: give more than 0'
  if bool(ppo.ptx_coef) != bool(ppo.ptx_rows):
    yield 'ppo.ptx_coef and ppo.ptx_rows must both be 0 or both be set'
  at_once, counts = ppo.microbatch_rows, ppo.windows
  whole = not at_once or at_once >= ppo.minibatch_size
  if whole and max(counts.prompt, counts.response) > 1:
    yield (
      'ppo.windows cuts slices of ppo.microbatch_rows episodes, and there is '
      'one slice only: set ppo.microbatch_rows below ppo.minibatch_size '
      f'{ppo.minibatch_size}'
    )
  per_step = config.pretrain.batch_size * config.data.row_length
  per_iteration = ppo.epochs * (ppo.batch_size // ppo.minibatch_size)
  updates = {
    'pretrain.optimizer': max(1, config.pretrain.tokens // per_step),
    'ppo.optimizer': ppo.iterations * per_iteration,
    'ppo.value_optimizer': ppo.iterations * per_iteration,
  }
  for name, steps in updates.items():
    stage, key = name.split('.')
    settings = config[stage][key]
    falls = settings.schedule != 'constant'
    if stage in config.stages and falls and settings.warmup >= steps:
      yield (
        f'{name}.warmup {settings.warmup} leaves none of {steps} updates to '
        'decay over'
      )
