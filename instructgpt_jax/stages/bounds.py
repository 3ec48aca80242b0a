"""What each number and each choice of a config may be."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from instructgpt_jax import optimizers
from instructgpt_jax.stages import adapters
from instructgpt_jax.stages.session import make_model_config

_TRAINING = ('pretrain', 'sft', 'reward', 'ppo')
_OPTIMIZERS = (
  'pretrain.optimizer',
  'sft.optimizer',
  'reward.optimizer',
  'ppo.optimizer',
  'ppo.value_optimizer',
)


def _of(blocks: tuple[str, ...], *keys: str) -> tuple[str, ...]:
  return tuple(f'{block}.{key}' for block in blocks for key in keys)


# (what a value must be, whether one is, the keys); NaN fits nothing.
RULES: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
  (
    'at least 1',
    lambda x: x >= 1,
    (
      'pretrain.tokens',
      'data.response_length',
      'ppo.iterations',
      'ppo.minibatch_size',
      'ppo.ngram',
      'ppo.limits.patience',
      'collect.prompts',
      'evaluate.documents',
      'evaluate.tokens',
      *_of(('data.world',), 'text', 'demonstrations', 'prompts'),
      *_of(('data.world',), 'heldout_text', 'heldout_prompts'),
      *_of((*_TRAINING, 'collect', 'evaluate'), 'batch_size'),
      *_of(('sft', 'reward', 'ppo'), 'epochs'),
      *_of(('pretrain', 'sft', 'ppo'), 'chunk'),
      *_of(_TRAINING, 'log_every'),
      'labeler_cv.seeds',
      *_of(('ppo.windows',), 'prompt', 'response'),
      *_of(('evaluate',), 'prompted.prompts', 'truth.workers'),
      'evaluate.judge.workers',
    ),
  ),
  (
    'at least 2',
    lambda x: x >= 2,
    (
      *_of(('data',), 'row_length', 'prompt_length'),
      *_of(('reward',), 'sequence_length', 'completions'),
      'labeler_cv.groups',
    ),
  ),
  (
    '0 or more',
    lambda x: 0 <= x < math.inf,
    (
      *_of(('sft',), 'pretrain_rows', 'pretrain_coef'),
      *_of(('ppo',), 'ptx_coef', 'ptx_rows', 'kl_coef', 'kl_target'),
      *_of(('ppo',), 'value_clip', 'critic_warmup', 'probe_prompts'),
      *_of(('ppo',), 'samples'),
      *_of(('ppo.limits',), 'kl_above', 'entropy_below', 'repeated_above'),
      *_of(('ppo.limits',), 'perplexity_above', 'length_below'),
      *_of(('ppo.limits',), 'length_above', 'kl_k3_above'),
      'evaluate.pairs_shown',
      *_of(('evaluate',), 'prompts', 'limit', 'toxicity.prompts'),
      *_of(('evaluate.best_of',), 'samples', 'prompts'),
      'mesh.replicated_above_mb',
      'lora.rank',
      'reward.completions_at_once',
      *('collect.skip', 'evaluate.prompted.candidates'),
      *_of(_TRAINING, 'evaluate_every', 'save_every', 'microbatch_rows'),
      *_of(('ppo',), 'ptx_microbatch_rows', 'rollout_rows', 'halvings'),
      *_of(_OPTIMIZERS, 'peak', 'warmup', 'weight_decay', 'clip_norm'),
    ),
  ),
  (
    'above 0',
    lambda x: 0 < x < math.inf,
    (
      *_of(('collect',), 'temperature', 'enough', 'poll'),
      *('lora.alpha', 'evaluate.toxicity.per_second'),
      *_of(('ppo',), 'temperature', 'clip', 'kl_horizon'),
      *_of(_OPTIMIZERS, 'eps'),
    ),
  ),
  ('above 1', lambda x: x > 1, ('ppo.ratio_limit',)),
  (
    'from 0 to 1',
    lambda x: 0 <= x <= 1,
    (*_of(('ppo',), 'gamma', 'lam'), *_of(_OPTIMIZERS, 'warmup_from', 'final')),
  ),
  (
    '0 or more and below 1',
    lambda x: 0 <= x < 1,
    (
      'ppo.ema_decay',
      *_of(_OPTIMIZERS, 'b1', 'b2'),
      *_of(('pretrain', 'sft', 'reward'), 'dropout'),
    ),
  ),
  (
    'above 0 and below 1',
    lambda x: 0 < x < 1,
    _of(('data', 'reward'), 'validation_share'),
  ),
  ('from 0 to 2,000,000,000', lambda x: 0 <= x <= 2 * 10**9, ('seed',)),
  ('finite', math.isfinite, ('ppo.missing_eos_value',)),
)
CHOICES: dict[str, tuple[str, ...]] = {
  'collect.labelers': ('simulated', 'web'),
  'sft.select': ('auto', 'validation_loss', 'reward', 'last'),
  'evaluate.weights': ('ema', 'params'),
  'ppo.missing_eos_rule': ('replace', 'subtract', 'none'),
  'data.over_length': ('drop', 'truncate_left'),
  'tokenizer.kind': ('train', 'gpt2', 'folder'),
  'data.source': ('world', 'jsonl'),
  'mesh.granule': ('slice', 'node', 'process'),
  'mesh.replicated': ('warn', 'error'),
  **dict.fromkeys(_of(_OPTIMIZERS, 'schedule'), optimizers.KINDS),
  **dict.fromkeys(_of(_OPTIMIZERS, 'moments_dtype'), optimizers.MOMENTS),
}


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields a line for each value that nothing could run with."""
  for words, fits, keys in RULES:
    for key in keys:
      value = _value(config, key)
      if not fits(value):
        yield f'{key} {value} must be {words}'
  for key, known in CHOICES.items():
    value = _value(config, key)
    if value not in known:
      yield f'{key} {value!r}: choose from {", ".join(known)}'
  if config.tokenizer.kind == 'train' and config.tokenizer.vocab_size < 258:
    yield (
      f'tokenizer.vocab_size {config.tokenizer.vocab_size} must be at least '
      '258: 256 bytes and 2 special tokens'
    )
  plain = config.name.isprintable() and '/' not in config.name
  if not plain or config.name.startswith('.') or not config.name:
    yield f'name {config.name!r} must be the name of a folder, not a path'
  yield from _completions(config)
  yield from _models(config)
  yield from _moments(config)


def _value(config: ConfigDict, key: str) -> Any:
  value: Any = config
  for part in key.split('.'):
    value = value[part]
  return value


def _completions(config: ConfigDict) -> Iterator[str]:
  bounds = config.collect.completions
  whole = len(bounds) == 2 and all(type(bound) is int for bound in bounds)
  if not whole or not 2 <= bounds[0] <= bounds[1]:
    yield (
      f'collect.completions {bounds}: give (fewest, most) with at least 2 '
      'completions to compare'
    )
  elif bounds[1] > config.reward.completions and 'collect' in config.stages:
    yield (
      f'reward.completions {config.reward.completions} is less than the '
      f'{bounds[1]} that collect writes'
    )


def _moments(config: ConfigDict) -> Iterator[str]:
  for name in _OPTIMIZERS:
    settings = _value(config, name)
    kept = settings.moments_dtype
    if kept not in optimizers.MOMENTS:
      continue  # said above
    try:
      optimizers.check_moments(kept, b1=settings.b1, b2=settings.b2)
    except ValueError as error:
      yield f'{name}: {error}'


def _models(config: ConfigDict) -> Iterator[str]:
  for name in ('model', 'reward_model'):
    try:
      made = make_model_config(config[name], vocab_size=1, dropout=0.0)
      dataclasses.replace(made, lora=adapters.wanted(config))
    except ValueError as error:
      reason = str(error).removeprefix('model settings: ')
      yield f'{name}: {reason}'
