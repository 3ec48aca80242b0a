"""How fast a policy writes: prefill, then token by token from the cache.

  python -m benchmarks.decode --layers=12 --width=768 --heads=12 \\
    --vocab=50257 --batch=16 --prompt=64 --response=32 --iters=3

Tokens per second count what is written. The parts are the prefill and one
step after it (of responses that end early, the mean over all steps there
could be); bytes are weights and cache, each read once a step. The last line
is JSON.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
from absl import app, flags

from benchmarks import measuring, workload
from instructgpt_jax.fit import passes
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import rollout

FLAGS = flags.FLAGS


def measure(given: Any) -> dict[str, Any]:
  """Returns what is printed."""
  machine = measuring.machine(given.dtype)
  session = workload.session(given, workload.config(given))
  model = session.language_model()
  params = session.fresh(model, 0)
  prompts = workload.prompts(given, session)
  with session.on_mesh():
    write = jax.jit(_writer(session, given.response))
    first = jax.jit(_writer(session, 1))
    args = params, prompts, session.stop_ids, jax.random.key(0)
    whole = measuring.timed(lambda: write(*args), given.iters)
    prefill = measuring.timed(lambda: first(*args), given.iters)
    written = int(write(*args).response_mask.sum())
  step = (whole.median - prefill.median) / max(1, given.response - 1)
  return {
    'benchmark': 'decode',
    's_per_iter_median': round(whole.median, 7),
    'samples_per_s': round(given.batch / whole.median, 3),
    'tokens_per_s': round(written / whole.median, 1),
    'tokens_written': written,
    'params': sum(x.size for x in jax.tree.leaves(params)),
    'phase_s': {'prefill': round(prefill.median, 5), 'step': round(step, 5)},
    'step': _step(model.cfg, step, machine, given),
    'compile_s': round(whole.compile, 2),
    'peak_mb': measuring.peak_memory(),
    'machine': machine,
    'flags': workload.values(given),
  }


def _writer(session: Session, length: int) -> Any:
  """Returns the program that writes at most `length` tokens."""
  return functools.partial(
    rollout.respond,
    model=session.language_model(),
    sampling_settings=dataclasses.replace(
      session.sampling(), max_new_tokens=length
    ),
  )


def _step(
  cfg: ModelConfig, seconds: float, machine: dict[str, Any], given: Any
) -> dict[str, float]:
  """Returns the rates of a step, in the middle of a response.

  It reads every matrix once and the cache of all rows.
  """
  weights = cfg.layers * passes.matmul_weights(cfg)
  weights += cfg.hidden_width * cfg.vocab_rows
  context = given.prompt + given.response / 2
  cache = 2 * cfg.layers * given.batch * cfg.kv_heads * cfg.head_size * context
  flops = passes.forward(cfg, given.batch, 1, context, given.batch)
  size = 2 if cfg.dtype == 'bfloat16' else 4
  moved = size * (weights + cache)
  return measuring.against(flops, moved, seconds, machine)


def main(argv: list[str]) -> None:
  del argv
  measuring.tell(measure(FLAGS))


if __name__ == '__main__':
  workload.define(
    layers=12,
    width=768,
    heads=12,
    vocab=50257,
    batch=16,
    prompt=64,
    response=32,
    iters=3,
  )
  app.run(main)
