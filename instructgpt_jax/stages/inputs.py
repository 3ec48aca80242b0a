"""Where the data of each stage comes from: the embedded world or your files.

Each function prepares its dataset once, under `DIR/data/`, and returns rows
by number. How records are split stands in `reading`. What stands in two files
under different users may still be on both sides: `data.files.heldout` gives
prompts that are held out by your own choice, and the stage `curate` removes
what is in two splits.
"""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from instructgpt_jax import files, simulation
from instructgpt_jax.data import builders
from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.data.curation import personal, raw, step
from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.runtime import distributed
from instructgpt_jax.runtime.run import Run
from instructgpt_jax.stages import (
  labelers,
  mixture,
  prepared,
  reading,
  sources,
  vocabulary,
)
from instructgpt_jax.stages.responses import Response
from instructgpt_jax.stages.session import Session
from instructgpt_jax.types import Params

LEARNED = 200_000  # raw records that a tokenizer is learned from


def tokenizer(config: ConfigDict, run: Run) -> Tokenizer:
  """Returns the run's tokenizer, made and saved in `DIR/tokenizer` once."""
  settings = {'tokenizer': config.tokenizer.to_dict()}
  if config.tokenizer.kind == 'train':
    settings['init'] = config.init.to_dict()
    settings['data'] = _corpus_settings(config)
  folder = run.path / 'tokenizer'
  status = distributed.decide(lambda: run.stage_status('tokenizer', settings))
  if status != 'done':
    distributed.decide(
      lambda: _prepare_tokenizer(config, run, settings),
      seconds=distributed.LONG,
    )
  return tokenizer_lib.from_folder(folder)


def _prepare_tokenizer(
  config: ConfigDict, run: Run, settings: dict[str, Any]
) -> None:
  made, folder = _make_tokenizer(config), run.path / 'tokenizer'
  run.begin('tokenizer', settings)
  with files.naming_any(folder):
    made.save(folder)
    files.sync_tree(folder)
  run.finish('tokenizer', settings)


def _corpus_settings(config: ConfigDict) -> Any:
  data = config.data
  if data.source == 'world':
    return {'seed': config.seed, 'world': data.world.to_dict()}
  found = data.files.to_dict()
  if 'curate' in config.stages:
    log = config.curate
    found |= {'log': log.files, 'schema': log.schema, 'fields': log.fields}
  if sources.tokenizer_folder(config) is None:
    found['contents'] = _corpus_contents(config)
  return found


def _corpus_contents(config: ConfigDict) -> dict[str, str | None]:
  """Returns the hashes of the files that `_corpus` reads."""
  paths = [*config.data.files.text, *config.data.files.demonstrations]
  if 'curate' in config.stages and config.curate.files:
    paths += raw.inputs(config.curate.files)
  return {str(path): sources.digest(pathlib.Path(path)) for path in paths}


def _make_tokenizer(config: ConfigDict) -> Tokenizer:
  settings = config.tokenizer
  if settings.kind == 'gpt2':
    return tokenizer_lib.gpt2(settings.encoder, settings.merges)
  folder = sources.tokenizer_folder(config)
  if folder is not None:
    return vocabulary.read(config, folder, settings.eos)
  if settings.kind == 'train':
    return tokenizer_lib.train_bpe(_corpus(config), settings.vocab_size)
  raise ValueError(
    f'tokenizer.kind {settings.kind!r} names no tokenizer: give '
    '--config.tokenizer.folder=FOLDER'
  )


def _corpus(config: ConfigDict) -> Iterator[str]:
  """Yields texts for a tokenizer: pre-training text and demonstrations.

  Where they are yet to be curated, the first of the raw log, with the personal
  data in them masked: a token may hold a whole word.
  """
  for kind in ('text', 'demonstrations'):
    for record, _ in reading.raw(config, kind, 'train'):
      texts = (record.get(key, '') for key in ('text', 'prompt', 'response'))
      yield ''.join(texts)
  if 'curate' in config.stages and config.data.source == 'jsonl':
    log = itertools.islice(reading.raw_log(config), LEARNED)
    yield from (
      personal.masked(t) for record in log for t in step.texts(record)
    )


def text_rows(session: Session, split: str) -> Sequence[dict[str, Any]]:
  """Returns packed rows of pre-training text, 'train' or 'heldout'.

  Those to train on are mixed as data.text_weights says.
  """

  def prepare(part: Session, name: str) -> builders.Dataset:
    make = lambda name: builders.prepare_text(  # noqa: E731
      reading.of(part, 'text', split),
      length=part.config.data.row_length,
      inputs=reading.identity(part, 'text', split),
      **_place(part, name),
    )
    return prepared.once(part, name, make)

  name = f'text_{split}'
  mixed = split == 'train'
  return (
    mixture.rows(session, name, prepare) if mixed else prepare(session, name)
  )


def demonstration_rows(session: Session, split: str) -> builders.Dataset:
  """Returns packed rows of demonstrations, 'train' or 'validation'."""
  data = session.config.data
  return prepared.once(
    session,
    f'demonstrations_{split}',
    lambda name: builders.prepare_demonstrations(
      reading.of(session, 'demonstrations', split),
      length=data.row_length,
      over_length=data.over_length,
      chat=data.chat,
      max_prompt=data.prompt_length,
      max_response=data.response_length,
      learn_prompt=data.learn_prompt,
      inputs=reading.identity(session, 'demonstrations', split),
      **_place(session, name),
    ),
  )


def prompts(session: Session, use: str) -> Sequence[dict[str, Any]]:
  """Returns prompt records with their `tokens`, for one use.

  'collect' and 'ppo' share the training prompts out between them, those of
  files where people rank them; 'probe' (watched in training) and 'heldout'
  (evaluated at the end) share those held out.
  """
  config, data = session.config, session.config.data
  split = 'train' if use in ('collect', 'ppo') else 'heldout'
  rows = prepared.once(
    session,
    f'prompts_{split}',
    lambda name: builders.prepare_prompts(
      reading.of(session, 'prompts', split),
      length=data.prompt_length,
      over_length=data.over_length,
      chat=data.chat,
      inputs=reading.identity(session, 'prompts', split),
      **_place(session, name),
    ),
    builders.PromptDataset,
  )
  if split == 'train':
    shared = data.source == 'world' or config.collect.labelers == 'web'
    skipped, asked = config.collect.skip, config.collect.prompts
    last = min(skipped + asked, len(rows) // 2) if shared else 0
    return rows[skipped:last] if use == 'collect' else rows[last:]
  probe = min(config.ppo.probe_prompts, len(rows) // 3)
  last = len(rows) - probe
  return rows[last:] if use == 'probe' else rows[:last]


def comparisons(session: Session, split: str) -> builders.Dataset:
  """Returns ranked groups of 'train', 'validation' or 'heldout' labelers."""
  config, settings = session.config, session.config.reward
  return prepared.once(
    session,
    f'comparisons_{split}',
    lambda name: _compared(
      *labelers.comparisons(session, split),
      length=settings.sequence_length,
      max_completions=settings.completions,
      over_length=config.data.over_length,
      chat=config.data.chat,
      **_place(session, name),
    ),
  )


def _compared(
  found: Iterator[reading.Located], inputs: Any, **how: Any
) -> builders.Dataset:
  return builders.prepare_comparisons(found, inputs=inputs, **how)


def _place(session: Session, name: str) -> dict[str, Any]:
  folder = session.run.folder('data')
  return {'tokenizer': session.tokenizer, 'folder': folder, 'name': name}


def count(params: Params) -> int:
  """Returns the number of parameters."""
  return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(params))


def gold_totals(
  session: Session, written: Sequence[Response]
) -> np.ndarray | None:
  """Returns [n] gold scores, None where the data has no gold scorer."""
  if session.config.data.source != 'world':
    return None
  totals = lambda: [  # noqa: E731
    simulation.gold(w.row, w.text, w.ended).total for w in written
  ]
  return np.array(distributed.decide(totals, seconds=distributed.LONG))
