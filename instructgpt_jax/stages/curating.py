"""What can be known to be wrong with config.curate before a run begins."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax.data import libraries
from instructgpt_jax.data.curation import (
  categories,
  language,
  manifest,
  mixing,
  normal,
  personal,
  public,
  raw,
  rows,
  step,
)
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.stages import reading, sources

# (what a value must be, whether one is, the keys)
RULES: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
  (
    'at least 1',
    lambda x: x >= 1,
    (
      *('block', 'duplicates.near_permutations', 'duplicates.near_words'),
      'contamination.words',
    ),
  ),
  (
    '0 or more',
    lambda x: x >= 0,
    (
      *('workers', 'examples', 'cap_per_user', 'duplicates.prefix'),
      *('length.prompt', 'length.response'),
    ),
  ),
  (
    'from 0 to 1',
    lambda x: 0 <= x <= 1,
    ('contamination.share', 'category.confidence'),
  ),
  (
    'above 0 and at most 1',
    lambda x: 0 < x <= 1,
    ('duplicates.near_threshold',),
  ),
  (
    '0 or more and below 1',
    lambda x: 0 <= x < 1,
    ('split.validation', 'split.test'),
  ),
)
# extra detector of personal data -> its module, and how to install it
EXTRAS = {
  'presidio': (
    'presidio_analyzer',
    'presidio-analyzer, then python -m spacy download en_core_web_lg',
  ),
  'scrubadub': ('scrubadub', 'scrubadub'),
}
# stage -> kinds and splits that it reads of what was kept
READ = {
  'sft': (('demonstrations', 'train'), ('demonstrations', 'validation')),
  'collect': (('prompts', 'train'),),
  'reward': (
    *(('comparisons', 'train'), ('comparisons', 'validation')),
    ('demonstrations', 'train'),
  ),
  'labeler_cv': (('comparisons', 'train'), ('comparisons', 'validation')),
  'ppo': (('prompts', 'train'), ('prompts', 'heldout')),
  'evaluate': (('prompts', 'heldout'),),
}


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong, if the stage is to run."""
  if 'curate' not in config.stages:
    yield from _earlier(config)
    return
  settings = config.curate.to_dict()
  for words, fits, keys in RULES:
    for key in keys:
      value = _value(settings, key)
      if not fits(value):
        yield f'curate.{key} {value} must be {words}'
  yield from _choices(settings)
  yield from filter(None, _libraries(config, settings))
  try:
    mixing.check(settings['mix'], categories.CATEGORIES)
  except ValueError as error:
    yield str(error)
  if config.data.source == 'jsonl':
    yield from _files(settings)


def _earlier(config: ConfigDict) -> Iterator[str]:
  """Yields what an earlier run curated too little of."""
  folder = sources.curated(config, pathlib.Path())
  if folder is not None:
    try:
      chooses = 'sft' in config.stages and config.sft.select == 'reward'
      answered = (('prompts', 'heldout'),) if chooses else ()
      yield from lacking(config, folder, answered)
    except DataError as error:
      yield str(error)


def lacking(
  config: ConfigDict,
  folder: pathlib.Path,
  more: tuple[tuple[str, str], ...] = (),
) -> Iterator[str]:
  """Yields which records that stages will read curation kept none of.

  `more` are kinds and splits that are read beside those of READ.

  Raises:
    DataError: where nothing is curated, or not as it was written.
  """
  kept, files = manifest.read(folder)['outputs'], config.data.files
  read = [need for stage in config.stages for need in READ.get(stage, ())]
  for kind, split in dict.fromkeys([*read, *more]):
    given = files[kind] or (split == 'heldout' and files.heldout)
    gathered = kind == 'comparisons' and 'collect' in config.stages
    name = f'records/{kind}_{reading.SPLITS.get(split, split)}-'
    if not (given or gathered or any(key.startswith(name) for key in kept)):
      yield f'{folder}: {reading.kept_none(kind, split)}'


def _libraries(config: ConfigDict, settings: dict[str, Any]) -> Iterator[str]:
  """Yields of each library that the settings need what is said if absent."""
  absent, personal_data = libraries.absent, settings['personal']
  yield absent('krippendorff', 'the report on the data')
  for name, library in (('language', 'py3langid'), ('category', 'sklearn')):
    if settings[name]['on'] and (said := absent(library, f'curate.{name}')):
      yield f'{said}, or give --config.curate.{name}.on=False'
  if settings['duplicates']['near']:
    yield absent('datasketch', 'curate.duplicates.near')
  kinds = set(personal_data['kinds'])
  if personal_data['action'] == 'off':
    kinds = set()
  elif personal_data['extra'] in EXTRAS:
    module, install = EXTRAS[personal_data['extra']]
    yield absent(module, 'curate.personal.extra', install)
  log = config.data.source == 'jsonl'
  learned = sources.tokenizer_folder(config) is None
  if log and learned and config.tokenizer.kind == 'train':
    kinds = set(personal.PERSONAL)  # masked in what the tokenizer learns from
  if 'phone' in kinds:
    yield absent('phonenumbers', 'curate.personal')
  if kinds & {'card', 'iban', 'ssn'}:
    yield absent('stdnum', 'curate.personal')
  if log and settings['schema'] and not settings['files']:
    yield absent('datasets', f'fetching {settings["schema"]}')


def _choices(settings: dict[str, Any]) -> Iterator[str]:
  shares = settings['split']
  if shares['validation'] + shares['test'] >= 1:
    yield 'curate.split: validation and test together leave nothing to train'
  one, chosen = settings['personal'], settings['normal']['form']
  if chosen not in normal.FORMS:
    yield f'curate.normal.form {chosen!r}: choose from {normal.FORMS}'
  if one['action'] not in personal.ACTIONS:
    yield (
      f'curate.personal.action {one["action"]!r}: choose from '
      f'{", ".join(personal.ACTIONS)}'
    )
  yield from language.unknown(settings['language'])
  named = {
    'personal.kinds': (one['kinds'], personal.PERSONAL),
    'personal.splits': (one['splits'], step.SPLITS),
    'contamination.splits': (settings['contamination']['splits'], step.SPLITS),
  }
  for key, (values, known) in named.items():
    for value in values:
      if value not in known:
        yield f'curate.{key}: {value!r} is none of {", ".join(known)}'


def _value(settings: Any, key: str) -> Any:
  for part in key.split('.'):
    settings = settings[part]
  return settings


def _files(settings: dict[str, Any]) -> Iterator[str]:
  """Yields what is wrong with the files that curation reads."""
  try:
    if settings['schema']:
      public.find(settings['schema'])
    if settings['files']:
      found = raw.inputs(settings['files'])
      tables = [str(p) for p in found if p.suffix in ('.zst', *rows.SUFFIXES)]
      if tables and (said := libraries.absent('pyarrow', tables[0])):
        yield said
    elif not settings['schema']:
      yield 'no raw log: give --config.curate.files="(\'FILE.jsonl\',)"'
  except DataError as error:
    yield str(error)
  for name, key in (('contamination', 'files'), ('category', 'train')):
    for path in settings[name][key]:
      if not pathlib.Path(path).exists():
        yield f'{path} (curate.{name}.{key}) does not exist'


def gives(config: ConfigDict, kind: str) -> bool:
  """Returns whether records of a kind come, or may come, of curation."""
  curated = sources.curated(config, pathlib.Path())
  return curated is not None and kind in step.KINDS  # `lacking` says if none
