"""A tiny trained system with everything a real one has: keys, optimizer, data.

Run as a program it trains in a folder, for tests that kill the process.
"""

import functools
import pathlib
import sys
import time

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from instructgpt_jax import types
from instructgpt_jax.runtime import checkpoint, loop, metrics

OPTIMIZER = optax.adamw(1e-2)


@flax.struct.dataclass
class State:
  step: jax.Array
  params: dict
  opt_state: object
  ema: object
  rng: jax.Array


class Batches:
  """Noise that depends on the position only; counts what it gave."""

  def __init__(self, end=10**9, delay=0.0):
    self.position, self.end, self.delay = 0, end, delay

  def __next__(self):
    if self.position >= self.end:
      raise StopIteration
    time.sleep(self.delay)
    self.position += 1
    return np.random.default_rng(self.position).normal(size=(4, 8))

  def get_state(self):
    return {'position': self.position, 'nested': [None, {'a': 'b'}]}

  def set_state(self, state):
    assert state['nested'] == [None, {'a': 'b'}]
    self.position = state['position']


def init_state(width=8):
  params = {
    'w': jax.random.normal(jax.random.key(0), (width, 16)),
    'b': jnp.zeros(16, jnp.bfloat16),
  }
  return State(
    jnp.int32(0), params, OPTIMIZER.init(params), None, jax.random.key(1)
  )


def loss_fn(params, x, key):
  hidden = jnp.tanh(x @ params['w'] + params['b'].astype(jnp.float32))
  keep = jax.random.bernoulli(key, 0.8, hidden.shape)  # uses the saved key
  return ((hidden * keep).sum(-1) - 1.0) ** 2


@functools.partial(jax.jit, donate_argnums=0)
def step_fn(state, x):
  rng, key = jax.random.split(state.rng)

  def loss(params):
    each = loss_fn(params, x, key)
    return each.mean(), each

  grads, each = jax.grad(loss, has_aux=True)(state.params)
  updates, opt_state = OPTIMIZER.update(grads, state.opt_state, state.params)
  params = optax.apply_updates(state.params, updates)
  state = state.replace(
    step=state.step + 1, params=params, opt_state=opt_state, rng=rng
  )
  return state, {
    'loss': types.Mean.of(each),
    'norm': types.Mean.of(jnp.abs(grads['w']).max()),
  }


def put(x):
  return jax.device_put(np.asarray(x, np.float32))


def train(folder, *, steps, state=None, batches=None, **kwargs):
  """Runs `fit` in `folder`; returns (state, lines of metrics.jsonl)."""
  folder = pathlib.Path(folder)
  best = kwargs.pop('best', None)
  settings = {'log_every': 5, 'save_every': 10, 'put': put} | kwargs
  with (
    checkpoint.Checkpointer(folder / 'checkpoints', best=best) as checkpointer,
    metrics.Writer(folder, stage='toy') as writer,
  ):
    state = loop.fit(
      settings.pop('step_fn', step_fn),
      init_state() if state is None else state,
      Batches() if batches is None else batches,
      steps=steps,
      checkpointer=checkpointer,
      writer=writer,
      **settings,
    )
  return state, metrics.read_lines(folder / 'metrics.jsonl')


def plain(state):
  """Returns the leaves as raw bytes, keys included: equal means bit for bit."""
  leaves = jax.tree.leaves(state.replace(rng=jax.random.key_data(state.rng)))
  return [np.asarray(x).tobytes() for x in leaves]


if __name__ == '__main__':
  jax.config.update('jax_platforms', 'cpu')
  folder, steps, delay = sys.argv[1:]
  final, _ = train(
    folder, steps=int(steps), batches=Batches(delay=float(delay))
  )
  np.save(pathlib.Path(folder) / 'w.npy', np.asarray(final.params['w']))
