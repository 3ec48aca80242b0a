"""How long an update of SFT or of the reward model takes.

  python -m benchmarks.train_step --stage=sft --layers=12 --width=768 \\
    --heads=12 --vocab=50257 --batch=2 --prompt=64 --response=32 --iters=3

Rows are prompt + response tokens, all of them real. An SFT batch holds
`--batch` of them and no text beside them, a batch of the reward model
`--batch` prompts with `--completions` ranked completions each. FLOPs are those
of the matrices and of causal attention. The last line is JSON.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from absl import app, flags

from benchmarks import measuring, workload
from instructgpt_jax import placement
from instructgpt_jax.fit import analytic, chips
from instructgpt_jax.stages import reward, sft, training
from instructgpt_jax.stages.session import Session
from instructgpt_jax.types import Comparisons

FLAGS = flags.FLAGS
STEPS = 1_000  # of the schedule of the learning rate


def settings(given: Any) -> Any:
  """Returns the config of the update."""
  made = workload.config(given)
  made.stages = (given.stage,)
  made.sft.batch_size, made.sft.pretrain_rows = given.batch, 0
  made.reward.batch_size = given.batch
  made.reward.completions = given.completions
  made.reward.sequence_length = made.data.row_length
  return made


def measure(given: Any) -> dict[str, Any]:
  """Returns what is printed."""
  session = workload.session(given, settings(given))
  stage: Any = {'sft': sft, 'reward': reward}[given.stage]
  program = stage.program(session, STEPS)
  params = session.fresh(program.model, 0)
  state, frozen = training.begin(
    session, program.model, params, program.optimizer
  )
  batch = _batch(given, session)

  def step() -> Any:
    nonlocal state
    state, metrics = program.step(state, batch, frozen)
    return metrics

  with session.on_mesh():
    found = measuring.timed(step, given.iters)
  peak, machine = measuring.peak_memory(), measuring.machine(given.dtype)
  target = chips.parse(f'cpu:{session.mesh.size}')
  work = analytic.work(session, given.stage, target)
  rows = given.batch * (1 if given.stage == 'sft' else given.completions)
  tokens = rows * (given.prompt + given.response)
  return {
    'benchmark': 'train_step',
    's_per_iter_median': round(found.median, 7),
    'samples_per_s': round(rows / found.median, 3),
    'tokens_per_s': round(tokens / found.median, 1),
    'params': sum(x.size for x in jax.tree.leaves(params)),
    'step': measuring.against(work.flops, work.moved, found.median, machine),
    'compile_s': round(found.compile, 2),
    'peak_mb': peak,
    'machine': machine,
    'flags': workload.values(given, 'stage', 'completions'),
  }


def _batch(given: Any, session: Session) -> Any:
  if given.stage == 'sft':
    return workload.text(given, session, given.batch)
  groups = given.batch, given.completions
  shape = *groups, given.prompt + given.response
  drawn = np.random.default_rng(0).integers(0, given.vocab, shape)
  make: Any = Comparisons
  made = make(
    drawn.astype(np.int32),
    np.ones(shape, bool),
    np.broadcast_to(np.arange(1, groups[1] + 1, dtype=np.int32), groups),
    np.ones(groups, bool),
  )
  return placement.put_batch(made, session.mesh)


def main(argv: list[str]) -> None:
  del argv
  measuring.tell(measure(FLAGS))


if __name__ == '__main__':
  workload.define(**workload.GPT2, batch=2)
  flags.DEFINE_enum('stage', 'sft', ('sft', 'reward'), 'Whose update.')
  flags.DEFINE_integer('completions', 4, 'K of the reward model.')
  app.run(main)
