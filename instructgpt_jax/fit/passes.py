"""Passes of a model on one chip: what they compute, move and hold."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
from jax.sharding import NamedSharding

from instructgpt_jax.evals.flops import forward, layer_weights, matmul_weights
from instructgpt_jax.models import axes, kernels, lora
from instructgpt_jax.models.axes import Rules
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.models.kernels import splash
from instructgpt_jax.stages.session import abstract_params

__all__ = [
  'Batch',
  'Passes',
  'Work',
  'forward',
  'layer_weights',
  'matmul_weights',
]

# Bytes read and written per attention score by the einsum form: float32 out
# of the first product, into and out of the softmax, then the compute type. A
# kernel writes none.
SCORE_BYTES = 12
STREAM = 8  # values of the width that a layer reads and writes per token
INNER = 2  # times each of heads and hidden units, as it is written and read


@dataclasses.dataclass(frozen=True)
class Work:
  """Of one chip: FLOPs that are useful, FLOPs done, bytes moved, bytes held.

  `hosted` bytes come and go between the chip and its host.
  """

  flops: float = 0.0
  done: float = 0.0
  moved: float = 0.0
  temporary: float = 0.0
  hosted: float = 0.0

  def __add__(self, other: Work) -> Work:
    return Work(
      self.flops + other.flops,
      self.done + other.done,
      self.moved + other.moved,
      max(self.temporary, other.temporary),
      self.hosted + other.hosted,
    )

  def times(self, factor: float) -> Work:
    work = (self.flops * factor, self.done * factor, self.moved * factor)
    return Work(*work, self.temporary, self.hosted * factor)


class Batch(NamedTuple):
  """Rows of so many tokens, of which some get logits.

  The first `unread` of a row are only there to be seen: the last of unrolled
  layers computes keys and values of them and nothing else.
  """

  rows: float
  length: int
  logits: int  # of a row
  unread: int = 0


class Passes:
  """Passes of a network on a mesh, laid out by rules."""

  def __init__(self, model: Any, mesh: Any, rules: Rules, platform: str):
    self._cfg: ModelConfig = model.cfg
    self._model, self._mesh, self._rules = model, mesh, rules
    self._platform = platform
    self._rows_over = self._ways('act_batch')
    self._heads_over = self._ways('act_heads')
    self._size = 4 if self._cfg.dtype == 'float32' else 2

  def forward(self, batch: Batch, parts: int) -> Work:
    """Returns one pass over the rows, in as many parts."""
    chips, (rows, length, *_) = self._mesh.size, batch
    return Work(
      self._flops(batch, length / 2) / chips,
      self._flops(batch, self._sees(length)) / chips,
      parts * self.weights_read + self._activations(rows, length),
      self._held(rows / parts, length),
    )

  def _flops(self, batch: Batch, context: float) -> float:
    """Returns FLOPs of a forward pass whose tokens see so many each."""
    cfg, (rows, length, logits, unread) = self._cfg, batch
    whole = forward(cfg, rows, length, context, rows * logits)
    if cfg.scan_layers:
      return whole
    of, heads = layer_weights(cfg), cfg.heads * cfg.head_size
    weights = matmul_weights(cfg) - of['qkv'] + cfg.width * heads
    # Those that are left out see half as far as all do on average.
    seen = context if context == length else unread / 2
    return whole - rows * unread * (2 * weights + 4 * seen * heads)

  def gradients(self, batch: Batch, parts: int, updates: int) -> Work:
    """Forward, twice that backward (once where only adapters learn).

    The batch is that of all updates.
    """
    cfg, (rows, length, *_) = self._cfg, batch
    once = self.forward(batch, parts * updates)
    backward = 1 if cfg.lora is not None else 2
    again = self._again(length)
    weights = self._trained
    tokens = rows * length / self._rows_over / (parts * updates)
    kept, hosted = self._kept(tokens, length)
    return Work(
      once.flops * (1 + backward),
      once.done * (1 + backward + again),
      # A float32 gradient is added up per part.
      once.moved * (1 + backward + again) + 12 * weights * updates * parts,
      8 * weights + kept + once.temporary,
      2 * hosted * parts * updates,
    )

  def adam(self, updates: int, moments: int, *, ema: bool = False) -> Work:
    """Reads and writes weights, both moments (so many bytes each), the EMA."""
    size = 12 + 4 * moments + (8 if ema else 0)
    return Work(moved=self._trained * updates * size)

  def generate(self, rows: int, p: int, r: int, parts: int) -> Work:
    """Prefill, then a token at a time to the end: nobody stops early."""
    cfg, chips, length, steps = self._cfg, self._mesh.size, p + r, r - 1
    prompts = Batch(rows, p, 1, p - 1)
    useful = forward(cfg, rows, steps, p + r / 2, rows * steps)
    sees = length if self._kernel(p) == 'xla' else self._sees(p)
    done = forward(cfg, rows, steps, length, rows * steps)
    cache = self._cache(rows // parts, length)
    first = self.forward(prompts, parts)
    return Work(
      first.flops + useful / chips,
      (self._flops(prompts, sees) + done) / chips,
      first.moved + parts * steps * (self.weights_read + cache),
      cache + self.weights_used + first.temporary,
    )

  def lay_out(self, stored: float) -> Work:
    """What lies otherwise as `stored` bytes is read, and written as used."""
    return Work(moved=stored + self.weights_used, temporary=self.weights_used)

  @functools.cached_property
  def weights_used(self) -> float:
    """Bytes of the weights in one pass: what no axis of the rows splits."""
    rows = set(_parts(dict(self._rules)['act_batch']))
    here = tuple(
      (name, tuple(axis for axis in _parts(over) if axis not in rows))
      for name, over in self._rules
    )
    return self._size * self._count(here)

  @property
  def weights_read(self) -> float:
    """Bytes moved for them in one pass; gathered ones are written first."""
    gathered = self.weights_used > self._size * self._count(self._rules)
    return self.weights_used * (2 if gathered else 1)

  @functools.cached_property
  def _trained(self) -> float:
    """Weights that learn, of those that lie on a chip."""
    params = abstract_params(self._model, self._mesh, self._rules)
    return _on_chip(lora.partition(params)[0])

  def _count(self, rules: Rules) -> float:
    """Returns how many weights lie on a chip."""
    return _on_chip(abstract_params(self._model, self._mesh, rules))

  def _ways(self, name: str) -> int:
    over = _parts(dict(self._rules)[name])
    return math.prod(self._mesh.shape[axis] for axis in over)

  def _kernel(self, length: int) -> str:
    return kernels.choose(self._cfg, self._platform, length)

  def _sees(self, length: int) -> float:
    """Returns how many tokens each is held against: kernels skip blocks."""
    if self._kernel(length) == 'xla':
      return length
    return (length + splash.block(length)) / 2

  def _activations(self, rows: float, length: int) -> float:
    """Bytes that a forward pass reads and writes beside the weights."""
    cfg, tokens = self._cfg, rows * length / self._rows_over
    heads = cfg.head_size * 2 * (cfg.heads + cfg.kv_heads)
    inner = (heads + cfg.mlp_width) / self._heads_over
    values = STREAM * cfg.width + INNER * inner
    scores = tokens * length * cfg.heads / self._heads_over
    if self._kernel(length) != 'xla':
      scores = 0
    return cfg.layers * (tokens * values * self._size + SCORE_BYTES * scores)

  def _held(self, rows: float, length: int) -> float:
    """Bytes of one layer's activations, of gathered weights and the table."""
    cfg = self._cfg
    layer = self._activations(rows, length) / cfg.layers / 2
    weights = self.weights_read - self.weights_used  # 0: nothing is gathered
    table = 4 * cfg.vocab_rows * cfg.hidden_width / self._ways('act_vocab')
    return layer + 2 * weights / cfg.layers + table

  def _again(self, length: int) -> float:
    """Returns the share of a forward pass that `remat` does again."""
    cfg = self._cfg
    if cfg.remat in ('none', 'full'):
      return float(cfg.remat == 'full')
    parts = {name: 2.0 * n for name, n in layer_weights(cfg).items()}
    attention = 4.0 * self._sees(length) * cfg.heads * cfg.head_size
    whole = sum(parts.values()) + attention
    if cfg.remat == 'dots':
      return attention / whole
    saved = sum(parts[name] for name in cfg.remat_saved if name in parts)
    saved += attention if 'attention' in cfg.remat_saved else 0.0
    return 1 - saved / whole

  def _kept(self, tokens: float, length: int) -> tuple[float, float]:
    """Returns the bytes kept for the way back, on the chip and on its host."""
    cfg, inner = self._cfg, self._heads_over
    stream = cfg.width / self._ways('act_stream_length')
    sizes = {
      'qkv': cfg.head_size * (cfg.heads + 2 * cfg.kv_heads) / inner,
      'attention': cfg.head_size * cfg.heads / inner,
      'mlp': cfg.mlp_width / inner,
    }
    values, hosted = stream, 0.0
    if cfg.remat == 'none':
      return self._activations(tokens * self._rows_over / length, length), 0.0
    if cfg.remat == 'dots':
      values += sizes['qkv'] + sizes['mlp'] * (2 if cfg.gated else 1) + stream
    elif cfg.remat == 'names':
      values += sum(sizes[name] for name in cfg.remat_saved)
    elif cfg.remat == 'offload':
      hosted = sum(sizes[name] for name in cfg.remat_saved)
    each = cfg.layers * tokens * self._size
    return each * values, each * hosted

  def _cache(self, rows: int, length: int) -> float:
    """Bytes of keys and values that a chip holds of so many rows."""
    cfg = self._cfg
    shape = (cfg.layers, rows, cfg.kv_heads, length, cfg.head_size)
    names = (None, 'act_rows', 'act_heads', None, None)
    found = axes.spec(shape, names, dict(self._rules), self._mesh.shape)
    own = NamedSharding(self._mesh, found).shard_shape(shape)
    return 2 * self._size * math.prod(own)


def _parts(over: axes.MeshAxes) -> tuple[str, ...]:
  return (over,) if isinstance(over, str) else over or ()


def _on_chip(params: Any) -> float:
  return sum(
    math.prod(x.sharding.shard_shape(x.shape)) for x in jax.tree.leaves(params)
  )
