"""Settings of a decoder, and the GPT-3 family as presets."""

from __future__ import annotations

import dataclasses
from typing import Any

ACTIVATIONS = ('gelu', 'gelu_tanh', 'quick_gelu', 'relu')
DTYPES = ('float32', 'bfloat16', 'float16')
REMAT = ('none', 'full', 'dots')


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """A pre-norm decoder with learned positions.

  Weights are kept in `param_dtype` and used in `dtype`; LayerNorm, softmax
  and scores are float32 whatever `dtype` is. Checked when it is made: raises
  ValueError that names every setting which does not fit.
  """

  vocab_size: int
  layers: int
  width: int
  heads: int
  mlp_width: int | None = None  # None: 4 * width
  max_length: int = 2048
  activation: str = 'gelu_tanh'
  use_bias: bool = True  # of projections and of LayerNorm
  tied: bool = True  # the unembedding is the token table
  dropout: float = 0.0  # after the embedding and on both residual branches
  layer_norm_eps: float = 1e-5
  embed_init: float = 0.02  # standard deviation, token table and unembedding
  position_init: float = 0.01
  dtype: str = 'float32'
  param_dtype: str = 'float32'
  scan_layers: bool = False  # one compiled layer, weights stacked in front
  remat: str = 'none'  # what a backward pass recomputes: all, or not the dots

  def __post_init__(self):
    if self.mlp_width is None:
      object.__setattr__(self, 'mlp_width', 4 * self.width)
    self.validate()

  @property
  def head_size(self) -> int:
    return self.width // self.heads

  @property
  def kv_heads(self) -> int:
    """G of the legend; every query head has its own keys and values."""
    return self.heads

  def validate(self) -> None:
    """Raises ValueError with one line for each setting that does not fit."""
    wrong = [
      f'{name} = {value!r} must be {rule}'
      for name, value, rule, fits in self._rules()
      if not fits
    ]
    if wrong:
      raise ValueError('model settings: ' + '; '.join(wrong))

  def _rules(self):
    for name in ('vocab_size', 'layers', 'width', 'heads', 'max_length'):
      value = getattr(self, name)
      yield name, value, 'an integer of at least 1', _positive(value)
    yield (
      'mlp_width',
      self.mlp_width,
      'an integer of at least 1, or None for 4 * width',
      _positive(self.mlp_width),
    )
    divides = not (_positive(self.width) and _positive(self.heads)) or (
      self.width % self.heads == 0
    )
    yield 'width', self.width, f'a multiple of heads = {self.heads}', divides
    for name, allowed in (
      ('activation', ACTIVATIONS),
      ('dtype', DTYPES),
      ('param_dtype', DTYPES),
      ('remat', REMAT),
    ):
      value = getattr(self, name)
      yield name, value, 'one of ' + ', '.join(allowed), value in allowed
    yield 'dropout', self.dropout, 'in [0, 1)', 0 <= self.dropout < 1
    eps = self.layer_norm_eps
    yield 'layer_norm_eps', eps, 'above 0', eps > 0
    for name in ('embed_init', 'position_init'):
      value = getattr(self, name)
      yield name, value, '0 or more', value >= 0


def _positive(value: Any) -> bool:
  return isinstance(value, int) and value >= 1


# GPT-3 table 2.1: layers, width, heads. Two entries there cannot be right:
# 24 heads x 128 is not 2048 (16 heads is what the same group's summarisation
# paper prints), and 13B is 40 heads x 128 = 5120 wide, not 5140.
_GPT3 = {
  '125m': (12, 768, 12),
  '350m': (24, 1024, 16),
  '760m': (24, 1536, 16),
  '1.3b': (24, 2048, 16),
  '2.7b': (32, 2560, 32),
  '6.7b': (32, 4096, 32),
  '13b': (40, 5120, 40),
  '175b': (96, 12288, 96),
}
GPT3_SIZES = tuple(_GPT3)


def gpt3(size: str, **overrides: Any) -> ModelConfig:
  """Returns the settings of a GPT-3 size, e.g. gpt3('1.3b', dropout=0.2).

  The layout is GPT-2's with a context of 2048 (GPT-3 section 2.1). All
  layers attend densely: the band width of the sparse ones was not published.
  The table's parameter counts come out only with a shared token table, hence
  `tied`. Raises ValueError for a size the table does not have.
  """
  if size not in _GPT3:
    raise ValueError(
      f'no GPT-3 size {size!r}; choose one of {", ".join(GPT3_SIZES)}'
    )
  layers, width, heads = _GPT3[size]
  settings: dict[str, Any] = {
    'vocab_size': 50257,
    'layers': layers,
    'width': width,
    'heads': heads,
    'max_length': 2048,
    'dtype': 'bfloat16',
    'scan_layers': True,
    'remat': 'full',
  }
  return ModelConfig(**(settings | overrides))
