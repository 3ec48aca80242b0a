"""The models, batches and settings that benchmarks share, and their flags.

Weights are fresh and tokens random: nothing is read, and what is timed are
the programs that the stages run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from configs import common
from instructgpt_jax import placement
from instructgpt_jax.fit.phases import Vocabulary
from instructgpt_jax.stages import layouts
from instructgpt_jax.stages.session import Session
from instructgpt_jax.types import Prompts, TokenBatch

LENGTHS = ('full', 'geometric')
NAMES = (
  *('layers', 'width', 'heads', 'vocab', 'batch', 'prompt', 'response'),
  *('iters', 'dtype', 'mesh', 'lengths', 'scan', 'remat', 'vocab_multiple'),
)
AXES = ('data', 'fsdp', 'tensor')
SHARE = 4  # mean length of a response is the limit divided by this


# The smallest GPT-2, on rows of 96 tokens.
GPT2 = dict(
  layers=12,
  width=768,
  heads=12,
  vocab=50257,
  prompt=64,
  response=32,
  iters=3,
)


def define(**defaults: int) -> None:
  """Defines the flags every benchmark has, with these defaults."""
  for name, text in (
    ('layers', 'Layers of every network.'),
    ('width', 'Width.'),
    ('heads', 'Attention heads.'),
    ('vocab', 'Tokens of the vocabulary.'),
    ('batch', 'Rows.'),
    ('prompt', 'Tokens of a prompt.'),
    ('response', 'Most tokens of a response.'),
    ('iters', 'Runs that are timed, after one that compiles.'),
  ):
    flags.DEFINE_integer(name, defaults[name], text, lower_bound=1)
  flags.DEFINE_enum(
    'dtype', 'float32', ('float32', 'bfloat16'), 'What models compute in.'
  )
  flags.DEFINE_list('mesh', [], 'Sizes of axes, e.g. fsdp=4,tensor=2.')
  flags.DEFINE_enum(
    'lengths',
    'full',
    LENGTHS,
    'Of responses: all full, or geometric with a quarter of it as mean.',
  )
  flags.DEFINE_bool('scan', False, 'Whether layers are one loop.')
  flags.DEFINE_enum(
    'remat', 'none', ('none', 'dots', 'full'), 'What is computed again.'
  )
  flags.DEFINE_integer('vocab_multiple', 1, 'What pads the vocabulary.')


def define_halvings() -> None:
  """Defines the flag of benchmarks that generate."""
  flags.DEFINE_integer('halvings', 0, 'See ppo.halvings.', lower_bound=0)


def values(given: Any, *more: str) -> dict[str, Any]:
  """Returns what the flags were given, `more` of a benchmark's own too."""
  return {name: getattr(given, name) for name in (*NAMES, *more)}


def config(given: Any) -> ConfigDict:
  """Returns the default config with the sizes of the flags."""
  made = common.base()
  for settings in (made.model, made.reward_model):
    settings.layers, settings.width = given.layers, given.width
    settings.heads, settings.dtype = given.heads, given.dtype
    settings.mlp_width = 4 * given.width
    settings.scan_layers, settings.remat = given.scan, given.remat
    settings.vocab_multiple = given.vocab_multiple
    settings.max_length = max(256, given.prompt + given.response)
  made.tokenizer.vocab_size = given.vocab
  made.data.prompt_length = given.prompt
  made.data.response_length = given.response
  made.data.row_length = given.prompt + given.response
  for axis in given.mesh:
    name, _, size = axis.partition('=')
    if name not in AXES or not size.isdigit():
      raise ValueError(f'--mesh: {axis!r} is not one of {AXES} = a size')
    made.mesh[name] = int(size)
  return made


def stop_ids(given: Any) -> tuple[int, ...]:
  """Returns the ids that end a response.

  Fresh weights give every token nearly the same probability: of so many ids
  that end a response, one comes every R / 4 tokens. Of full responses none.
  """
  if given.lengths == 'full':
    return (given.vocab,)
  return tuple(range(round(SHARE * given.vocab / given.response)))


def session(given: Any, settings: ConfigDict) -> Session:
  """Returns a session without a folder: nothing is read or written."""
  nowhere: Any = None
  words: Any = Vocabulary(given.vocab, 0, stop_ids(given))
  return Session(settings, nowhere, layouts.mesh(settings.mesh), words)


def prompts(given: Any, session: Session) -> Prompts:
  """Returns full prompts of random tokens, on the mesh."""
  drawn = np.random.default_rng(0)
  tokens = drawn.integers(0, given.vocab, (given.batch, given.prompt))
  make: Any = Prompts
  made = make(
    tokens.astype(np.int32),
    np.ones(tokens.shape, bool),
    np.arange(given.batch, dtype=np.int32),
  )
  return placement.put_batch(made, session.mesh)


def text(given: Any, session: Session, rows: int) -> TokenBatch:
  """Returns full rows of random tokens, one segment each, on the mesh."""
  drawn, length = np.random.default_rng(1), given.prompt + given.response
  tokens = drawn.integers(0, given.vocab, (rows, length)).astype(np.int32)
  make: Any = TokenBatch
  made = make(
    tokens,
    np.ones(tokens.shape, bool),
    np.ones(tokens.shape, np.int32),
    np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape),
  )
  return placement.put_batch(made, session.mesh)
