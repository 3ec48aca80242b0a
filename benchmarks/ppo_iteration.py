"""How long a PPO iteration takes, and its parts.

  python -m benchmarks.ppo_iteration --layers=4 --width=256 --heads=4 \\
    --vocab=4096 --batch=64 --prompt=32 --response=32 --iters=10

One update per iteration, as peers are compared (--minibatches for more), the
value net as large as the policy, a reward network and a reference; with --ptx
also as many rows of text as episodes, and the average of the weights. The
parts are timed apart: their sum need not be the whole. Where responses end
early, tokens are the real ones, and FLOPs and bytes those of rows of the mean
length. The last line is JSON.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from absl import app, flags

from benchmarks import measuring, workload
from instructgpt_jax.fit import analytic, chips
from instructgpt_jax.stages import ppo, ppo_settings
from instructgpt_jax.steps import experience
from instructgpt_jax.types import Frozen, PpoBatch

FLAGS = flags.FLAGS
OWN = (
  *('ptx', 'minibatches', 'microbatch', 'windows', 'recompute_logp'),
  'halvings',
)


def settings(given: Any, text: bool) -> Any:
  """Returns the config of the iteration, with rows of text or without."""
  made = workload.config(given)
  made.stages = ('ppo',)
  made.ppo.batch_size = given.batch
  made.ppo.minibatch_size = given.batch // given.minibatches
  made.ppo.ptx_rows = int(text)
  made.ppo.ema_decay = 0.992 if given.ptx else 0.0
  made.ppo.critic_warmup = 0
  made.ppo.microbatch_rows = given.microbatch
  made.ppo.windows.prompt, made.ppo.windows.response = 1, given.windows
  made.ppo.recompute_logp = given.recompute_logp
  made.ppo.halvings = given.halvings
  return made


class Iteration:
  """The programs of an iteration and what they are given."""

  def __init__(self, given: Any, text: bool):
    self.session = workload.session(given, settings(given, text))
    self.networks = ppo.make_networks(self.session)
    self.frozen = Frozen(
      reference=self.session.fresh(self.networks.policy, 1),
      reward=self.session.fresh(self.networks.reward, 2),
    )
    optimizers, schedule = ppo.make_optimizers(self.session)
    bound = self.session, self.networks, optimizers, schedule
    self.programs = ppo.programs(*bound)
    self.state = ppo.initial_state(*bound[:2], self.frozen, optimizers)
    rows = workload.text(given, self.session, given.batch) if text else None
    self.batch = PpoBatch(workload.prompts(given, self.session), rows)
    self._step = ppo.iteration(*bound[:2], self.frozen, *bound[2:])

  def whole(self) -> Any:
    self.state, metrics = self._step(self.state, self.batch)
    return metrics

  def generate(self) -> Any:
    stop_ids = self.session.stop_ids
    return self.programs.write(
      self.state, self.frozen, self.batch.prompts, stop_ids
    )

  def update(self, rollout: Any) -> Any:
    self.state, metrics = self.programs.update(
      self.state,
      rollout,
      self.batch.pretrain,
      self.session.stop_ids,
      self.frozen,
    )
    return metrics

  def measure(self, written: Any) -> Any:
    return self.programs.measure(self.state, self.frozen, written)

  def phases(self, iters: int) -> dict[str, measuring.Timed]:
    """Returns the time of each part by itself."""
    timed = functools.partial(measuring.timed, iters=iters)
    found = {'generate': timed(self.generate)}
    written = self.generate()
    found['score'] = timed(lambda: self.measure(written))
    rollout, _ = self.measure(written)
    learn = jax.jit(
      functools.partial(
        experience.make_experience, settings=ppo_settings.static(self.session)
      )
    )
    kl_coef = self.session.everywhere(lambda: 0.2)
    stop_ids = self.session.stop_ids
    found['experience'] = timed(lambda: learn(rollout, stop_ids, kl_coef))
    found['update'] = timed(lambda: self.update(rollout))
    return found


def measure(given: Any) -> dict[str, Any]:
  """Returns what is printed."""
  run = Iteration(given, given.ptx)
  with run.session.on_mesh():
    whole = measuring.timed(run.whole, given.iters)
    peak = measuring.peak_memory()
    written = run.generate()
    phases = run.phases(given.iters)
    seconds = {name: part.median for name, part in phases.items()}
    if given.ptx:
      plain = Iteration(given, False)
      rollout, _ = plain.measure(written)
      update = measuring.timed(lambda: plain.update(rollout), given.iters)
      seconds['ptx'] = seconds['update'] - update.median
      seconds['update'] = update.median
    seconds['update'] -= seconds['experience']
  machine = measuring.machine(given.dtype)
  mean = float(written.response_mask.sum()) / given.batch
  tokens = given.batch * (given.prompt + mean)
  return {
    'benchmark': 'ppo_iteration',
    's_per_iter_median': round(whole.median, 7),
    's_per_iter_min': round(min(whole.each), 4),
    'samples_per_s': round(given.batch / whole.median, 3),
    'tokens_per_s': round(tokens / whole.median, 1),
    'response_mean': round(mean, 2),
    'params': sum(x.size for x in jax.tree.leaves(run.frozen.reference)),
    'phase_s': {name: round(value, 4) for name, value in seconds.items()},
    'phases': _rates(given, round(mean), seconds, machine),
    'compile_s': round(whole.compile, 2),
    'peak_mb': peak,
    'machine': machine,
    'flags': workload.values(given, *OWN),
  }


def _rates(
  given: Any, response: int, seconds: dict[str, float], machine: dict[str, Any]
) -> dict[str, Any]:
  """Returns FLOPs and bytes of phases with responses of so many tokens."""
  config = settings(given, given.ptx)
  config.data.response_length = response
  session = workload.session(given, config)
  target = chips.parse(f'cpu:{session.mesh.size}')
  found = {}
  for name in ('generate', 'score', 'update'):
    work = analytic.work(session, name, target)
    took = seconds[name] + (seconds.get('ptx', 0) if name == 'update' else 0)
    found[name] = measuring.against(work.flops, work.moved, took, machine)
  return found


def main(argv: list[str]) -> None:
  del argv
  measuring.tell(measure(FLAGS))


if __name__ == '__main__':
  workload.define(
    layers=4,
    width=256,
    heads=4,
    vocab=4096,
    batch=64,
    prompt=32,
    response=32,
    iters=10,
  )
  flags.DEFINE_bool('ptx', False, 'Whether text and average are there.')
  flags.DEFINE_integer('minibatches', 1, 'Updates per iteration.')
  flags.DEFINE_integer('microbatch', 0, 'Rows at a time, 0 for all.')
  flags.DEFINE_integer('windows', 1, 'Widths that responses are cut to.')
  flags.DEFINE_bool('recompute_logp', True, "Not the sampler's log-probs.")
  workload.define_halvings()
  app.run(main)
