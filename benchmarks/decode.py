"""How fast a policy writes: prefill, then token by token from the cache.

  python -m benchmarks.decode --layers=12 --width=768 --heads=12 \\
    --vocab=50257 --batch=16 --prompt=64 --response=32 --iters=3

Tokens per second count what is written. The parts are the prefill, one step
after it, of those that ran, and the matrix products of a step by themselves on
one device: no step is shorter. FLOPs and bytes are of one device, weights and
cache read once a step. The last line is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import measuring, workload
from instructgpt_jax.fit import passes
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import rollout

FLAGS = flags.FLAGS


def measure(given: Any) -> dict[str, Any]:
  """Returns what is printed."""
  session = workload.session(given, workload.config(given))
  model = session.language_model()
  params = session.fresh(model, 0)
  prompts = workload.prompts(given, session)
  with session.on_mesh():
    write = jax.jit(_writer(session, given, given.response))
    first = jax.jit(_writer(session, given, 1))
    args = params, prompts, session.stop_ids, jax.random.key(0)
    whole = measuring.timed(lambda: write(*args), given.iters)
    prefill = measuring.timed(lambda: first(*args), given.iters)
    peak = measuring.peak_memory()
    lengths = np.asarray(write(*args).response_mask.sum(1))
  steps = max(1, int(lengths.max()) - 1)  # the loop ends with the longest
  step = (whole.median - prefill.median) / steps
  products = _products(model.cfg, given)
  machine = measuring.machine(given.dtype)
  written = int(lengths.sum())
  return {
    'benchmark': 'decode',
    's_per_iter_median': round(whole.median, 7),
    'samples_per_s': round(given.batch / whole.median, 3),
    'tokens_per_s': round(written / whole.median, 1),
    'tokens_written': written,
    'params': sum(x.size for x in jax.tree.leaves(params)),
    'phase_s': {
      'prefill': round(prefill.median, 5),
      'step': round(step, 5),
      'products': round(products, 5),
    },
    'steps': steps,
    'step': _step(session, step, machine, given),
    'compile_s': round(whole.compile, 2),
    'peak_mb': peak,
    'machine': machine,
    'flags': workload.values(given, 'halvings'),
  }


def _writer(session: Session, given: Any, length: int) -> Any:
  """Returns the program that writes at most `length` tokens."""
  return functools.partial(
    rollout.respond,
    model=session.language_model(),
    sampling_settings=dataclasses.replace(
      session.sampling(), max_new_tokens=length, halvings=given.halvings
    ),
  )


def _products(cfg: ModelConfig, given: Any) -> float:
  """Returns the seconds of the products of a step with all weights."""
  heads, kept = (n * cfg.head_size for n in (cfg.heads, cfg.kv_heads))
  shapes = [(cfg.width, heads), (cfg.width, kept), (cfg.width, kept)]
  shapes += [(heads, cfg.width), (cfg.mlp_width, cfg.width)]
  shapes += [(cfg.width, cfg.mlp_width)] * (2 if cfg.gated else 1)
  layers = [jnp.ones(shape, cfg.dtype) for shape in shapes * cfg.layers]
  table = jnp.ones((cfg.vocab_rows, cfg.hidden_width), cfg.dtype)
  rows = {n: jnp.ones((given.batch, n), cfg.dtype) for n, _ in shapes}

  def multiply(rows: Any, layers: Any, table: jax.Array) -> Any:
    last = jnp.einsum('bd,vd->bv', rows[cfg.width], table)
    return [rows[len(weights)] @ weights for weights in layers], last

  run = jax.jit(multiply)
  return measuring.timed(lambda: run(rows, layers, table), 10).median


def _step(
  session: Session, seconds: float, machine: dict[str, Any], given: Any
) -> dict[str, float]:
  """Returns the rates of a device in a step, in the middle of a response.

  It reads its part of every matrix once, and of the cache of all rows.
  """
  cfg = session.language_model().cfg
  split = session.mesh.shape['tensor'] if session.mesh.size > 1 else 1
  weights = cfg.layers * passes.matmul_weights(cfg)
  weights += cfg.hidden_width * cfg.vocab_rows
  context = given.prompt + given.response / 2
  cache = 2 * cfg.layers * given.batch * cfg.kv_heads * cfg.head_size * context
  flops = passes.forward(cfg, given.batch, 1, context, given.batch)
  size = 2 if cfg.dtype == 'bfloat16' else 4
  moved = size * (weights / split + cache / session.mesh.size)
  return measuring.against(flops / session.mesh.size, moved, seconds, machine)


def main(argv: list[str]) -> None:
  del argv
  measuring.tell(measure(FLAGS))


if __name__ == '__main__':
  workload.define(**workload.GPT2, batch=16)
  workload.define_halvings()
  app.run(main)
