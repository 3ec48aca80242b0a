"""How likely given tokens are, of rows in which texts share beginnings."""

from __future__ import annotations

import flax.linen as nn
import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from instructgpt_jax.algos import likelihood
from instructgpt_jax.models import decoder, memory
from instructgpt_jax.types import Params


@flax.struct.dataclass
class Trees:
  """Rows of trees, each written down before its branches (pre-order).

  A text is a path from a root. The token at slot s is seen by the slots
  s .. last[s] - 1, which hold what goes on from it; 0 marks a pad.
  """

  tokens: Int[Array, 'B T']
  positions: Int[Array, 'B T']  # depth in the tree
  segments: Int[Array, 'B T']  # 0 = pad, 1, 2, ... = tree in the row
  last: Int[Array, 'B T']


@flax.struct.dataclass
class Reads:
  """Which tokens are asked for, and after which slots they would stand."""

  slots: Int[Array, 'B Q']
  targets: Int[Array, 'B Q']


def hidden_states(
  params: Params, trees: Trees, *, model: nn.Module, branching: bool
) -> Float[Array, 'B T D']:
  """Returns what the model makes of each slot from the path that leads to it.

  Trees without branches need no mask of their own, and not `branching`: then
  the kernels of the chip attend, and layers may have windows.
  """
  attend = None
  if branching:
    slots = jnp.arange(trees.tokens.shape[1])
    before = slots[None, None, :] <= slots[None, :, None]
    within = slots[None, :, None] < trees.last[:, None, :]
    attend = (before & within)[:, None]
  hidden, _ = model.apply(
    {'params': memory.fetch(params, stacked=False)},
    trees.tokens,
    positions=trees.positions,
    segments=trees.segments,
    attend=attend,
  )
  return hidden


def read(
  params: Params,
  hidden: Float[Array, 'B T D'],
  reads: Reads,
  *,
  model: nn.Module,
  chunk: int | None = None,
) -> tuple[Float[Array, 'B Q'], Bool[Array, 'B Q']]:
  """Returns log p(target) in nats, and whether no token is likelier."""
  params = memory.fetch(params, stacked=False)
  picked = jnp.take_along_axis(hidden, reads.slots[..., None], axis=1)
  return likelihood.token_logp_best(
    picked,
    decoder.unembedding(params, model.cfg),
    reads.targets,
    chunk=chunk,
  )
