"""What a run starts from: stages of this run, of an earlier one, open weights.

A folder of `config.init` is the stage folder of a run, which holds `params/`;
or a folder of trained params itself, such as RUN/ppo/ema; or one of open
weights as transformers keeps them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib

from ml_collections import ConfigDict

from instructgpt_jax import files
from instructgpt_jax.data.curation import raw
from instructgpt_jax.data.curation.manifest import NAME as MANIFEST
from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.models import pretrained
from instructgpt_jax.runtime import checkpoint

# Which key of config.init stands for the output of a stage.
INIT_KEYS = {'pretrain': 'base', 'sft': 'sft', 'reward': 'reward'}

# Where the model that a stage trains comes from: the first that is given. What
# comes out of a stage of the same run is of that stage's origin.
CAME_FROM: dict[str, tuple[str, ...]] = {
  'pretrain': (),
  'sft': ('pretrain',),
  'reward': ('reward_base', 'sft', 'pretrain'),
  'ppo': ('sft', 'pretrain'),
  'value': ('value', 'reward', 'reward_base', 'sft', 'pretrain'),
}

# Other keys of config.init, and the stages that start from them.
USERS = {
  'reward_base': {'reward', 'labeler_cv'},
  'value': {'ppo'},
  'collect': {'collect'},
}

# What is read of a model folder beside its weights, tokenizers of all kinds.
TOKENIZER = ('tokenizer*.json', '*.model', 'tekken.json', 'vocab*', 'merges*')
READ = (
  *('config.json', 'generation_config.json', 'chat_template*', *TOKENIZER),
  *('normalizer.json', 'special_tokens_map.json', 'added_tokens.json'),
)
WEIGHTS = ('.safetensors', '.bin')  # files too large to be read whole
ORIGIN = 'origin'  # in a folder of trained params
BLOCKS, BLOCK = 64, 2**16  # of a file of weights: how many, and bytes of each


def source_folder(
  config: ConfigDict, run: pathlib.Path, stage: str
) -> pathlib.Path | None:
  """Returns where the output of `stage` comes from, None if from nowhere."""
  if stage in config.stages:
    return run / stage
  given = config.init[INIT_KEYS[stage]] if stage in INIT_KEYS else ''
  if given:
    return pathlib.Path(given)
  return pathlib.Path(config.init.run) / stage if config.init.run else None


def curated(config: ConfigDict, run: pathlib.Path) -> pathlib.Path | None:
  """Returns where curated records are, or will be; None if nowhere."""
  if 'curate' in config.stages:
    return run / 'curate'
  given = pathlib.Path(config.init.run) / 'curate'
  return given if config.init.run and (given / MANIFEST).is_file() else None


def policy_key(config: ConfigDict) -> str:
  """Returns the key of init that init.policy, the policy's start, is for."""
  return INIT_KEYS['pretrain' if 'sft' in config.stages else 'sft']


def open_weights(folder: pathlib.Path) -> bool:
  """Returns whether it is a model folder of transformers."""
  if (folder / 'params').is_dir():
    return False
  try:
    return 'model_type' in json.loads((folder / 'config.json').read_bytes())
  except OSError:
    return False
  except (ValueError, TypeError):
    return True  # meant to be one: whoever reads it says what is wrong


def trained(folder: pathlib.Path) -> bool:
  """Returns whether it is itself a folder of trained params."""
  return (folder / 'metadata.json').is_file() and (folder / 'arrays').is_dir()


def holds_model(folder: pathlib.Path) -> bool:
  """Returns whether something can be loaded from it."""
  stage = (folder / 'params').is_dir()
  return stage or trained(folder) or open_weights(folder)


def params_folder(folder: pathlib.Path, name: str = 'params') -> pathlib.Path:
  """Returns where the weights are: the folder itself, or `name` in a stage."""
  whole = trained(folder) or open_weights(folder)
  return folder if whole else folder / name


def start_folder(role: str, folder: pathlib.Path) -> pathlib.Path:
  """Returns where the weights are that a model of `role` starts from.

  A value net starts from the value net of a ppo stage, not from its policy.
  """
  name = 'value' if role == 'value' else 'params'
  if not (folder / name).is_dir():
    name = 'params'
  return params_folder(folder, name)


def has_tokenizer(folder: pathlib.Path) -> bool:
  """Returns whether a model folder comes with one."""
  return any(path for name in TOKENIZER for path in folder.glob(name))


def has_score(folder: pathlib.Path) -> bool:
  """Returns whether it holds a reward model or value net."""
  folder = params_folder(folder)
  if open_weights(folder):
    return pretrained.has_score(folder)
  signature = checkpoint.load_metadata(folder)['signature']
  return any(name.startswith('head/') for name in signature)


def origin(folder: pathlib.Path) -> pathlib.Path | None:
  """Returns the settings a model had at transformers, None if it had none.

  In a folder with config.json and perhaps generation_config.json: the open
  weights themselves, or what trained params keep of them.
  """
  if open_weights(folder):
    return folder
  kept = params_folder(folder) / ORIGIN
  return kept if (kept / 'config.json').is_file() else None


def keep(
  params: pathlib.Path, tokenizer: Tokenizer, given: pathlib.Path | None
) -> None:
  """Writes beside trained params what they need wherever they are moved.

  The tokenizer, and for an export the settings of their origin, if any.
  """
  with files.naming_any(params / 'tokenizer'):
    tokenizer.save(params / 'tokenizer')
    files.sync_tree(params / 'tokenizer')
  for name in ('config.json', 'generation_config.json', 'README.md'):
    if given and (given / name).is_file():
      text = (given / name).read_text(encoding='utf-8', errors='replace')
      files.write_text(params / ORIGIN / name, text)


def starts(config: ConfigDict) -> dict[str, pathlib.Path]:
  """Returns {role: folder} of every model the run takes from outside."""
  found = {
    stage: source_folder(config, pathlib.Path(), stage)
    for stage in INIT_KEYS
    if stage not in config.stages
  }
  for role, users in USERS.items():
    if config.init[role] and users & {*config.stages}:
      found[role] = pathlib.Path(config.init[role])
  return {role: folder for role, folder in found.items() if folder}


def first_origin(
  config: ConfigDict, stage: str, scalar: bool
) -> pathlib.Path | None:
  """Returns the origin of the model that a stage trains."""
  given = starts(config)
  roles = CAME_FROM['value' if stage == 'ppo' and scalar else stage]
  found = (start_folder(role, given[role]) for role in roles if role in given)
  first = next(filter(holds_model, found), None)
  return None if first is None else origin(first)


def tokenizer_of(params: pathlib.Path) -> pathlib.Path:
  """Returns the tokenizer that trained params keep, or else their run."""
  kept = params / 'tokenizer'
  return kept if kept.is_dir() else params.absolute().parents[1] / 'tokenizer'


def tokenizer_folder(config: ConfigDict) -> pathlib.Path | None:
  """Returns the folder the tokenizer comes from, None if from no folder.

  If not from one of its own, from what the policy starts from.
  """
  settings, init = config.tokenizer, config.init
  if settings.kind == 'folder' and settings.folder:
    return pathlib.Path(settings.folder)
  if settings.kind == 'gpt2' or 'pretrain' in config.stages:
    return None
  given = init[policy_key(config)]
  if not given and init.run:
    return pathlib.Path(init.run) / 'tokenizer'
  given = given or init.sft or init.base  # too little, which is said elsewhere
  if not given:
    return None
  folder = params_folder(pathlib.Path(given))
  if open_weights(folder):
    return folder
  kept = tokenizer_of(folder)
  return kept if trained(folder) or kept.is_dir() else None


def contents(config: ConfigDict) -> dict[str, str]:
  """Returns hashes of what lies behind the paths of a config.

  A file that was edited, or a model that was trained anew in its place, is
  another input, though its path is the same. Files of open weights stand by
  their size and by 64 blocks spread evenly from head to tail.
  """
  paths = [pathlib.Path(p) for kind in config.data.files.values() for p in kind]
  paths += _raw(config)
  for role, given in starts(config).items():
    folder = start_folder(role, given)
    if open_weights(folder):
      paths += read_of(folder)
    else:
      paths += [folder.parent / 'DONE', folder]
  found = {str(path): digest(path) for path in paths}
  return {path: value for path, value in found.items() if value}


def _raw(config: ConfigDict) -> list[pathlib.Path]:
  """Returns the files that curation reads, or what an earlier one left."""
  log = config.curate
  if 'curate' not in config.stages:
    folder = curated(config, pathlib.Path())
    return [folder / MANIFEST] if folder else []
  others = [*log.contamination.files, *log.category.train]
  if config.data.source == 'jsonl':
    others += log.files
  found = map(pathlib.Path, others)
  return [f for p in found for f in (raw.inputs([p]) if p.is_dir() else [p])]


def digest(path: pathlib.Path) -> str | None:
  """Returns the hash of a file, or of saved params; None where none are."""
  file = path / 'metadata.json' if path.is_dir() else path
  if not file.is_file():
    return None
  status = file.stat()
  return _digest(file, status.st_mtime_ns, status.st_size)


def read_of(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files of a model folder that decide something here."""
  small = {path for name in READ for path in folder.glob(name)}
  return [*sorted(small), *pretrained.weight_files(folder)]


@functools.lru_cache(maxsize=1024)
def _digest(file: pathlib.Path, modified: int, size: int) -> str:
  del modified  # part of the key: a file that changes is read again
  with file.open('rb') as opened:
    if file.suffix not in WEIGHTS or size <= BLOCKS * BLOCK:
      return hashlib.file_digest(opened, 'sha256').hexdigest()
    digest = hashlib.sha256(str(size).encode())
    for i in range(BLOCKS):
      opened.seek((size - BLOCK) * i // (BLOCKS - 1))
      digest.update(opened.read(BLOCK))
    return digest.hexdigest()
