"""What the two processes of a job do; each program takes a folder."""

import functools
import json
import pathlib
import time

import jax
import numpy as np

from configs.common import RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.runtime import checkpoint, distributed, loop, metrics
from instructgpt_jax.steps import ppo, rollout
from instructgpt_jax.types import Frozen, Mean
from tests.steps import toys
from tests.steps.toys import R

ROWS = 8


def _iteration(state, frozen, prompts, text):
  """Returns metrics and arrays of one PPO iteration."""
  made, _ = rollout.rollout(
    state,
    frozen,
    prompts,
    toys.STOP,
    networks=toys.SMALL,
    sampling_settings=rollout.Sampling(R),
    reading=rollout.Reading(chunk=4),
  )
  settings = toys.settings(minibatches=2, kl_target=1.0)
  experience, _ = ppo.make_experience(
    made, toys.STOP, state.kl_coef, settings=settings
  )
  state, measured = ppo.ppo_update(
    state,
    made,
    text,
    toys.STOP,
    networks=toys.SMALL,
    optimizers=toys.OPTIMIZERS,
    settings=settings,
  )
  return {
    'metrics': {name: mean.value() for name, mean in measured.items()},
    'advantages': experience.advantages,
    'lengths': made.response_mask.sum(1),
    'policy': state.policy.params,
    'value': state.value.params,
  }


def half_empty(mesh) -> dict:
  """Returns an iteration in which half of the rows are empty, as numpy.

  The second half of the batch, the second process, has nothing to write.
  """
  prompts, networks = toys.prompts(ROWS), toys.SMALL
  mask = prompts.mask & (np.arange(ROWS) < ROWS // 2)[:, None]
  params = toys.params(networks.policy, 5), toys.params(networks.reward, 6)
  params = jax.tree.map(np.asarray, params)
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  place = functools.partial(jax.jit, out_shardings=everywhere)
  with sharding.use(mesh, RULES):
    state, frozen = place(lambda: (toys.ppo_state(), Frozen(*params)))()
    batch = prompts.replace(mask=mask), toys.text(ROWS)
    batch = placement.put_batch(placement.local_part(batch, mesh), mesh)
    found = place(_iteration)(state, frozen, *batch)
  return jax.tree.map(np.asarray, found)


def iterate(folder: pathlib.Path) -> None:
  """One PPO iteration; every process writes what it found."""
  jax.config.update('jax_disable_most_optimizations', True)
  found = half_empty(sharding.make_mesh())
  text = json.dumps(jax.tree.map(np.ndarray.tolist, found))
  (folder / f'{jax.process_index()}.json').write_text(text)


def forever(folder: pathlib.Path) -> None:
  """Trains until somebody dies; tells when it is under way."""
  mesh = sharding.make_mesh()
  batch = np.ones((1, 4), np.float32)

  @jax.jit
  def step(state, batch):
    state = {'w': state['w'] + batch.sum() * 0.001}  # a sum over processes
    return state, {'loss': Mean.of(state['w'])}

  class Batches:
    def __next__(self):
      time.sleep(0.01)
      return batch

    def get_state(self):
      return {}

  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  state = {'w': jax.device_put(jax.numpy.zeros(3), everywhere)}
  with (
    checkpoint.Checkpointer(folder / 'checkpoints') as checkpointer,
    metrics.Writer(folder, tensorboard=False) as writer,
  ):
    loop.fit(
      step,
      state,
      Batches(),
      steps=10**9,
      checkpointer=checkpointer,
      writer=writer,
      log_every=10,
      save_every=10**9,
      put=lambda x: placement.put_batch(x, mesh),
    )


def waiting(folder: pathlib.Path) -> None:
  """Waits at a barrier that the other process never reaches."""
  (folder / f'{jax.process_index()}.txt').write_text('here')
  if jax.process_index() == 1:
    time.sleep(3600)
  distributed.barrier('end of sft')
