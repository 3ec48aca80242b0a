"""Train states, gradient accumulation and passes over slices of a batch."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from instructgpt_jax.models import lora
from instructgpt_jax.models.axes import constrain
from instructgpt_jax.types import Mean, Metrics, Params, TrainState

# A loss already divided by the weight of the whole batch, and its metrics.
LossFn = Callable[[Params, Any, jax.Array], tuple[jax.Array, Metrics]]


def create(
  params: Params, optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
  """Returns a train state at step 0; the EMA starts as a copy of `params`.

  Of params with adapters only those (and a scalar head) are in it: the rest
  is an argument of the steps, never donated and never saved.
  """
  trained, _ = lora.partition(params)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=trained,
    opt_state=optimizer.init(trained),
    ema=jax.tree.map(jnp.copy, trained) if ema else None,
  )


def apply_gradients(
  state: TrainState,
  grads: Params,
  optimizer: optax.GradientTransformation,
  *,
  ema_decay: float = 0.0,
) -> TrainState:
  """Returns the state after ONE optimizer update, its EMA moved along.

  ema <- d ema + (1 - d) params, once per update (InstructGPT C.4: d = 0.992).
  """
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  ema = state.ema
  if ema is not None:
    ema = optax.incremental_update(params, ema, 1.0 - ema_decay)
  return dataclasses.replace(
    state, step=state.step + 1, params=params, opt_state=opt_state, ema=ema
  )


def split(batch: Any, parts: int) -> Any:
  """Returns `batch` as [parts, rows / parts, ...].

  Part i takes rows i, i + parts, ...: rows stay on the device that holds
  them, because a sharded leading axis is only reshaped inside each shard.
  """

  def one(x: jax.Array) -> jax.Array:
    rows = x.shape[0]
    if rows % parts:
      raise ValueError(
        f'a batch of {rows} rows does not split into {parts} equal parts: '
        'choose microbatches that divide it'
      )
    return jnp.swapaxes(x.reshape(rows // parts, parts, *x.shape[1:]), 0, 1)

  return jax.tree.map(one, batch)


def take(batch: Any, rows: jax.Array) -> Any:
  """Returns these rows of every array, laid out as a batch is."""
  return jax.tree.map(
    lambda x: constrain(x[rows], 'act_batch', *[None] * (x.ndim - 1)), batch
  )


def join(parts: Any) -> Any:
  """Returns the rows of `split` in their first order."""
  return jax.tree.map(
    lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), parts
  )


def by_parts(fn: Callable[[Any], Any], batch: Any, parts: int) -> Any:
  """Returns `fn(batch)` computed on `parts` slices of rows, one at a time.

  Bounds the memory of a forward pass; `fn` must treat rows independently.
  """
  if parts == 1:
    return fn(batch)
  return join(jax.lax.map(fn, split(batch, parts)))


def accumulate(
  loss_fn: LossFn,
  params: Params,
  batch: Any,
  *,
  parts: int,
  key: jax.Array,
  frozen: Params | None = None,
  grads: Params | None = None,
  within: Callable[[Callable[[Any], Any], Any], Any] | None = None,
) -> tuple[Params, Metrics]:
  """Returns the gradient summed over `parts` slices, and merged metrics.

  `loss_fn(params, slice, key)` returns its share of the loss: totals over the
  slice divided by the weight of the WHOLE batch. The sum over slices is then
  the exact gradient of the token-weighted mean, however unequal the slices.
  It is taken by `params` alone; `loss_fn` gets them joined with `frozen`.
  `grads`, the gradient of another part of the same loss, is added to it.
  `within(gradient, slice)` calls `gradient` with less of the slice, if given.
  """

  def loss(params: Params, *args: Any) -> tuple[jax.Array, Metrics]:
    return loss_fn(lora.union(params, frozen), *args)

  gradient = jax.grad(loss, has_aux=True)

  def grad_fn(params: Params, rows: Any, key: jax.Array) -> Any:
    if within is None:
      return gradient(params, rows, key)
    return within(lambda rows: gradient(params, rows, key), rows)

  if parts == 1:
    found, metrics = grad_fn(params, batch, key)
    # As sums over slices are, whatever type the params have.
    found = jax.tree.map(lambda g: g.astype(jnp.float32), found)
    if grads is not None:
      found = jax.tree.map(jnp.add, grads, found)
    return found, metrics

  def body(total: Params, part: Any) -> tuple[Params, Metrics]:
    index, rows = part
    grads, metrics = grad_fn(params, rows, jax.random.fold_in(key, index))
    return jax.tree.map(jnp.add, total, grads), metrics

  begin = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), params)
  if grads is not None:
    begin = jax.tree.map(lambda g: g.astype(jnp.float32), grads)
  grads, metrics = jax.lax.scan(
    body, begin, (jnp.arange(parts), split(batch, parts))
  )
  return grads, sum_means(metrics)


def sum_means(metrics: Metrics) -> Metrics:
  """Returns stacked means merged over their leading axis."""
  return {
    name: Mean(m.total.sum(0), m.weight.sum(0)) for name, m in metrics.items()
  }


def mask_weight(mask: jax.Array) -> jax.Array:
  """Returns the number of True in `mask`, at least 1, as a divisor."""
  return jnp.maximum(mask.sum(dtype=jnp.float32), 1.0)
