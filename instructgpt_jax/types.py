"""Every pytree that flows through the system, and the legend of its axes.

  B batch · K completions per prompt · P prompt length · R response length
  L sequence (P + R) · V vocabulary · D width · N heads · G kv heads
  H head size · F mlp width · S cache length

All masks are bool; True means "this token is real" (`mask`), "this token was
written by the policy, its EOS included" (`response_mask`), "this token is
learned" (`loss_mask`) or "this completion exists" (`valid`). A pad token is
recognised by the masks alone, never by its id, so pad may equal EOS.
"""

from __future__ import annotations

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

Params = Any  # nested dict of arrays, as Flax makes it
Metrics = dict[str, 'Mean']


@flax.struct.dataclass
class Mean:
  """A weighted mean that stays exact when parts are merged.

  `total` is the weighted sum, `weight` the sum of weights. Merging adds both,
  so minibatches, microbatches and hosts of different size average rightly.
  """

  total: Float[Array, '']
  weight: Float[Array, '']

  @classmethod
  def of(
    cls, x: jax.typing.ArrayLike, mask: jax.typing.ArrayLike | None = None
  ) -> Mean:
    """Returns the mean of `x` where `mask` is True (everywhere if None).

    A non-finite value under a False mask does not reach total or gradient.
    """
    x = jnp.asarray(x, jnp.float32)
    if mask is None:
      return cls(x.sum(), jnp.float32(x.size))
    mask = jnp.asarray(mask, bool)
    return cls(jnp.where(mask, x, 0.0).sum(), mask.sum(dtype=jnp.float32))

  def merge(self, other: Mean) -> Mean:
    return Mean(self.total + other.total, self.weight + other.weight)

  def value(self) -> Float[Array, '']:
    """Returns total / weight, and 0 for an empty mean."""
    return self.total / jnp.maximum(self.weight, 1e-8)


@flax.struct.dataclass
class Unembed:
  """What a language model may write: the way from hidden states to logits.

  Ids from `known` on stand for no token, be they padding of the table or rows
  that the tokenizer has no word for: nobody gives them any probability.
  """

  matrix: Float[Array, 'D V'] | Float[Array, 'V D']
  softcap: float = flax.struct.field(pytree_node=False, default=0.0)
  known: int | None = flax.struct.field(pytree_node=False, default=None)
  # Whether it is [V D], as a tied table is kept: a loop that is given its
  # transpose carries a copy.
  table: bool = flax.struct.field(pytree_node=False, default=False)


@flax.struct.dataclass
class TokenBatch:
  """Rows of packed segments: pre-training, SFT and the ptx term."""

  tokens: Int[Array, 'B L']
  loss_mask: Bool[Array, 'B L']  # tokens[t] is a target to be predicted
  segments: Int[Array, 'B L']  # 0 = pad, 1, 2, ... = document in the row
  positions: Int[Array, 'B L']  # restarts at 0 in every segment


@flax.struct.dataclass
class SftBatch:
  """Rows to learn from, and rows of pre-training text mixed in (or None)."""

  rows: TokenBatch
  pretrain: TokenBatch | None


@flax.struct.dataclass
class Comparisons:
  """K ranked completions of each prompt, prompt included, right-padded."""

  tokens: Int[Array, 'B K L']
  mask: Bool[Array, 'B K L']
  ranks: Int[Array, 'B K']  # 1 is best, equal is a tie
  valid: Bool[Array, 'B K']


@flax.struct.dataclass
class Prompts:
  """Left-padded prompts. A row's noise depends on `row_id`, not on place."""

  tokens: Int[Array, 'B P']
  mask: Bool[Array, 'B P']
  row_id: Int[Array, ' B']


@flax.struct.dataclass
class Generation:
  """Prompts and what the policy wrote after them."""

  tokens: Int[Array, 'B L']
  mask: Bool[Array, 'B L']
  response_mask: Bool[Array, 'B R']
  logp: Float[Array, 'B R']  # under the sampling temperature


@flax.struct.dataclass
class Rollout:
  """A generation with all that was computed before the first update."""

  tokens: Int[Array, 'B L']
  mask: Bool[Array, 'B L']
  response_mask: Bool[Array, 'B R']
  logp: Float[Array, 'B R']
  ref_logp: Float[Array, 'B R']
  values: Float[Array, 'B R']  # of the state before each response token
  score: Float[Array, ' B']


@flax.struct.dataclass
class Experience:
  """What a PPO minibatch learns from."""

  rollout: Rollout
  rewards: Float[Array, 'B R']
  advantages: Float[Array, 'B R']
  returns: Float[Array, 'B R']


@flax.struct.dataclass
class PpoBatch:
  """What one PPO iteration consumes: prompts, and text for the ptx term."""

  prompts: Prompts
  pretrain: TokenBatch | None


@flax.struct.dataclass
class KVCache:
  """Keys and values of all layers; `length` slots of S are filled.

  Scanned layers carry one array, the layer axis in front, and update it in
  place; others have an array each, for a slice of one would be a copy. Heads
  come before time because the decode products then read memory in order (2.4
  times faster on CPU than time first).
  """

  k: Float[Array, 'layers B G S H'] | tuple[Float[Array, 'B G S H'], ...]
  v: Float[Array, 'layers B G S H'] | tuple[Float[Array, 'B G S H'], ...]
  mask: Bool[Array, 'B S']
  length: Int[Array, ''] | int  # an int where tracing knows it: 0


@flax.struct.dataclass
class TrainState:
  """One trained network. No callables inside: two states are one type."""

  step: Int[Array, '']  # optimizer updates done
  params: Params
  opt_state: Any
  ema: Params | None  # moving average of params, where one is kept


@flax.struct.dataclass
class PpoState:
  """All that PPO trains: donated to every step and saved."""

  policy: TrainState
  value: TrainState
  kl_coef: Float[Array, '']
  iteration: Int[Array, '']
  rng: Key[Array, '']


@flax.struct.dataclass
class Frozen:
  """Networks PPO reads and never changes: neither donated nor saved.

  Adapters of the policy stand beside the reference, those of the value net
  beside the trunk of the reward model, or beside `value` where it started
  from other weights. Without adapters these are read by nobody else.
  """

  reference: Params
  reward: Params
  value: Params | None = None

  @property
  def critic(self) -> Params:
    """What adapters of the value net stand beside."""
    return self.reward if self.value is None else self.value
