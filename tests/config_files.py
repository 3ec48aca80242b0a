"""How tests read configs: as main does, from a file, overridden and locked."""

import pathlib
import sys
from unittest import mock

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import evaluate, public

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(
  path.stem
  for path in (ROOT / 'configs').glob('*.py')
  if path.stem
  not in (
    *('__init__', 'common', 'presets', 'convert', 'compare', 'label'),
    *('public', 'evaluate'),
  )
)
SIZES = ('1.3b', '6b', '175b')
ARGUMENTS = ('', 'smoke', 'jsonl', 'pretrained', *SIZES)
ALL = [
  *[(file, argument) for file in FILES for argument in ARGUMENTS],
  ('sft', 'ppo_init'),
  *[('sft', f'ppo_init,{argument}') for argument in ARGUMENTS[1:]],
  ('sft', 'nlp'),
  *[('sft', f'nlp,{argument}') for argument in ARGUMENTS[1:]],
  ('reward', 'labeler_cv'),
  *[('reward', f'labeler_cv,{argument}') for argument in ARGUMENTS[1:]],
  # These have arguments of their own.
  *[('public', name) for name in public.SETS],
  *[('evaluate', name) for name in evaluate.ARGUMENTS],
]


def load(file, argument='', *overrides):
  """Returns the config as main sees it."""
  values = flags.FlagValues()
  holder = config_flags.DEFINE_config_file(
    'config', None, '', flag_values=values, lock_config=True
  )
  path = ROOT / 'configs' / f'{file}.py'
  place = f'{path}:{argument}' if argument else str(path)
  arguments = ['main', f'--config={place}', *overrides]
  # ml_collections looks for overrides in sys.argv, whatever it is called with.
  with mock.patch.object(sys, 'argv', arguments):
    values(arguments)
  return holder.value


def nodes(config):
  """Yields the config and every part of it."""
  yield config
  for value in config.values():
    if isinstance(value, ConfigDict):
      yield from nodes(value)


def leaves(config, prefix=()):
  """Returns {('sft', 'epochs'): 2, ...}."""
  found = {}
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      found |= leaves(value, (*prefix, key))
    else:
      found[(*prefix, key)] = value
  return found
