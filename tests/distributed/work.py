"""What every layout of processes trains: SFT, reward and PPO-ptx, tiny.

`python -m tests.distributed.work FOLDER EARLIER [rows]` is one process of a
job; the functions run in a process alone just as well.
"""

import dataclasses
import functools
import json
import pathlib
import shutil
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from instructgpt_jax.runtime import distributed

if __name__ == '__main__':  # to be joined before a device is touched
  jax.config.update('jax_platforms', 'cpu')
  distributed.FAREWELL = 1
  distributed.initialize()

from configs.common import DECODE_RULES, RULES
from instructgpt_jax import placement, sharding
from instructgpt_jax.data import pipeline
from instructgpt_jax.models import axes, decoder, heads
from instructgpt_jax.runtime import checkpoint, loop, metrics
from instructgpt_jax.steps import ppo, reward, rollout, sft
from instructgpt_jax.steps import state as state_lib
from instructgpt_jax.types import Frozen, PpoBatch, PpoState, SftBatch
from tests.steps import toys

CFG = dataclasses.replace(toys.CFG, width=16, heads=4)
NETWORKS = rollout.Networks(decoder.LanguageModel(CFG), heads.ScalarModel(CFG))
BATCH, ROWS = 8, 20
# What counts is the time of compilation.
QUICK = {
  'xla_backend_optimization_level': 0,
  'xla_llvm_disable_expensive_passes': True,
}
compiled = functools.partial(jax.jit, compiler_options=QUICK)


def mesh_of(sizes: tuple[int, int, int], order: tuple[int, int, int]) -> Any:
  """Returns a mesh whose axes follow the devices, slowest first, by `order`.

  With (2, 1, 0) the tensor axis is the one that crosses processes first.
  """
  shape = [sizes[axis] for axis in order]
  devices = np.array(jax.devices()[: int(np.prod(sizes))]).reshape(shape)
  return sharding.make_mesh(
    *sizes, devices=list(devices.transpose(np.argsort(order)).flat)
  )


def rows_of(batch: Any) -> list[dict[str, np.ndarray]]:
  """Returns the rows of a batch of toys as a dataset gives them."""
  names = batch.__dataclass_fields__
  leaves = {name: np.asarray(getattr(batch, name)) for name in names}
  return [
    {name: leaf[i] for name, leaf in leaves.items()}
    for i in range(len(leaves['tokens']))
  ]


def asked() -> list[dict[str, np.ndarray]]:
  """Returns prompts of one to P tokens."""
  prompts = toys.prompts(ROWS)
  return [
    {'tokens': tokens[mask]}
    for tokens, mask in zip(prompts.tokens, prompts.mask, strict=True)
  ]


def batches(kind: str, mesh: Any) -> Any:
  """Returns the batches of a stage, of which a process reads its rows."""
  local = functools.partial(placement.local_rows, mesh)
  common: dict[str, Any] = dict(batch_size=BATCH, seed=3, local=local(BATCH))
  if kind == 'sft':
    return pipeline.Zip(
      pipeline.token_batches(rows_of(toys.text(ROWS)), **common),
      pipeline.token_batches(
        rows_of(toys.text(ROWS, seed=2)),
        batch_size=3,
        seed=4,
        local=local(BATCH),
        filled=BATCH,
      ),
    )
  if kind == 'reward':
    ranked = rows_of(toys.comparisons(ROWS))
    return pipeline.comparison_batches(ranked, **common)
  text = pipeline.token_batches(
    rows_of(toys.text(ROWS, seed=1)),
    batch_size=2 * BATCH,  # two epochs of one row for each of the prompts
    seed=5,
    local=local(2 * BATCH),
  )
  prompts = pipeline.prompt_batches(asked(), length=toys.P, pad_id=0, **common)
  return pipeline.Map(pipeline.Zip(prompts, text), lambda pair: PpoBatch(*pair))


def everywhere(mesh: Any, make: Any) -> Any:
  """Returns make(), sharded as the model says."""
  return sharding.create(make, mesh, RULES)


def _train_state(model: Any, optimizer: Any, seed: int, ema: bool) -> Any:
  params = decoder.init_params(model, jax.random.key(seed), boxed=True)
  return state_lib.create(params, optimizer, ema=ema)


def sft_step() -> Any:
  step = functools.partial(
    sft.sft_step,
    model=NETWORKS.policy,
    optimizer=toys.OPTIMIZERS.policy,
    settings=sft.SftSettings(
      0.5, microbatches=2, chunk=4, seed=0, text_microbatches=2
    ),
  )
  return compiled(
    lambda state, pair: step(state, SftBatch(*pair)), donate_argnums=0
  )


def reward_step() -> Any:
  step = functools.partial(
    reward.reward_step,
    model=NETWORKS.reward,
    optimizer=toys.OPTIMIZERS.value,
    settings=reward.RewardSettings(microbatches=1, slices=1, seed=0),
  )
  return compiled(step, donate_argnums=0)


@functools.cache
def ppo_programs() -> tuple[Any, Any]:
  """Returns rollout and update, compiled once for all runs of a process."""
  roll = functools.partial(
    rollout.rollout,
    networks=NETWORKS,
    sampling_settings=rollout.Sampling(
      toys.R, layout=axes.table(RULES, DECODE_RULES)
    ),
    parts=2,
    reading=rollout.Reading(2, 4),
  )
  update = functools.partial(
    ppo.ppo_update,
    networks=NETWORKS,
    optimizers=toys.OPTIMIZERS,
    settings=toys.settings(epochs=2, kl_target=1.0),
  )
  return compiled(roll), compiled(update, donate_argnums=0)


def ppo_step(mesh: Any, written: list) -> Any:
  """Returns an iteration that notes what it wrote in `written`."""
  frozen = everywhere(
    mesh,
    lambda: Frozen(
      decoder.init_params(NETWORKS.policy, jax.random.key(5), boxed=True),
      decoder.init_params(NETWORKS.reward, jax.random.key(6), boxed=True),
    ),
  )
  stop = everywhere(mesh, lambda: toys.STOP + 0)
  roll, update = ppo_programs()

  def step(state: Any, batch: PpoBatch) -> Any:
    made, measured = roll(state, frozen, batch.prompts, stop)
    written.append(made.tokens)
    state, learned = update(state, made, batch.pretrain, stop)
    return state, measured | learned

  return step


def initial(kind: str, mesh: Any) -> Any:
  policy, value = toys.OPTIMIZERS
  if kind == 'sft':
    make = lambda: _train_state(NETWORKS.policy, policy, 1, ema=False)  # noqa: E731
  elif kind == 'reward':
    make = lambda: _train_state(NETWORKS.reward, value, 2, ema=False)  # noqa: E731
  else:
    make = lambda: PpoState(  # noqa: E731
      policy=_train_state(NETWORKS.policy, policy, 1, ema=True),
      value=_train_state(NETWORKS.reward, value, 2, ema=False),
      kl_coef=jnp.float32(0.1),
      iteration=jnp.int32(0),
      rng=jax.random.key(7),
    )
  return everywhere(mesh, make)


def start(kind: str, mesh: Any) -> dict[str, np.ndarray]:
  """Returns what `train` and `train_ppo` begin with, by the same names."""
  state = initial(kind, mesh)
  if kind == 'ppo':
    state = state.replace(rng=jax.random.key_data(state.rng))
  return _named(mesh, (state, []))


def train(kind: str, mesh: Any, steps: int) -> dict[str, Any]:
  """Returns {name: array} of what SFT or the reward model became, and said."""
  step = {'sft': sft_step, 'reward': reward_step}[kind]()
  state, source, said = initial(kind, mesh), batches(kind, mesh), []
  with sharding.use(mesh, RULES):
    for _ in range(steps):
      state, measured = step(state, placement.put_batch(next(source), mesh))
      said.append({name: mean.value() for name, mean in measured.items()})
  return _named(mesh, (state, said))


def train_ppo(mesh: Any, folder: pathlib.Path, steps: int) -> dict[str, Any]:
  """Returns {name: array} of what PPO became, and the texts of its last steps.

  By the loop of a run: it goes on from the newest checkpoint in `folder`.
  """
  written: list[Any] = []
  with (
    checkpoint.Checkpointer(folder / 'checkpoints', keep=9) as checkpointer,
    metrics.Writer(folder, stage='ppo', tensorboard=False) as writer,
    sharding.use(mesh, RULES),
  ):
    state = loop.fit(
      ppo_step(mesh, written),
      initial('ppo', mesh),
      batches('ppo', mesh),
      steps=steps,
      checkpointer=checkpointer,
      writer=writer,
      log_every=1,
      save_every=1,
      put=lambda batch: placement.put_batch(batch, mesh),
    )
  state = state.replace(rng=jax.random.key_data(state.rng))
  return _named(mesh, (state, written))


def _named(mesh: Any, tree: Any) -> dict[str, np.ndarray]:
  layout = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  whole = jax.jit(lambda x: x, out_shardings=layout)(tree)
  named, _ = jax.tree_util.tree_flatten_with_path(whole)
  return {jax.tree_util.keystr(path): np.asarray(x) for path, x in named}


def steps_of(folder: pathlib.Path) -> list[dict[str, float]]:
  """Returns the metrics of each step of PPO, without what times it."""
  return [
    {k: v for k, v in line['values'].items() if not k.startswith('time/')}
    for line in metrics.read_lines(folder / 'metrics.jsonl')
  ]


# The programs of a job.


def layout(folder: pathlib.Path, earlier: str) -> None:
  """Trains all three, and goes on with PPO where `earlier` left it."""
  mesh = mesh_of((2, 2, 2), (2, 1, 0))
  found: dict[str, Any] = {}
  for kind in ('sft', 'reward'):
    found[kind] = train(kind, mesh, 2)
  found['ppo'] = train_ppo(mesh, folder / 'ppo', 2)
  copy = folder / 'resumed'
  if distributed.is_main():
    shutil.copytree(pathlib.Path(earlier), copy)
  distributed.barrier('copied')
  found['resumed'] = train_ppo(mesh, copy, 3)
  if distributed.is_main():
    for name, arrays in found.items():
      np.savez(folder / f'{name}.npz', **arrays)


class Counted(list):
  """Rows that note which of them are read."""

  def __init__(self, rows: list):
    super().__init__(rows)
    self.lengths = np.array([len(row['tokens']) for row in rows])
    self.read: list[int] = []

  def __getitems__(self, numbers: Any) -> list:
    self.read += numbers
    return [self[number] for number in numbers]


MESHES = {
  'data 2': (2, 1, 1),
  'fsdp 2': (1, 2, 1),
  'tensor 2': (1, 1, 2),
  'data 2, tensor 2': (2, 1, 2),
  'data 2, tensor 2, tensor first': (2, 1, 2),
}


def reading(folder: pathlib.Path) -> None:
  """Writes which rows each process reads, and what the batches then hold."""
  found = {}
  for name, sizes in MESHES.items():
    used = int(np.prod(sizes)) // jax.process_count()
    devices = [
      device
      for index in range(jax.process_count())
      for device in jax.devices()
      if device.process_index == index and device.id in _first(index, used)
    ]
    if name.endswith('first'):
      devices = [devices[i] for i in (0, 2, 1, 3)]
    mesh = sharding.make_mesh(*sizes, devices=devices)
    rows = Counted(asked())
    batch = pipeline.prompt_batches_once(
      rows,
      batch_size=BATCH,
      length=(2, 5, 7),
      pad_id=0,
      local=placement.local_rows(mesh, BATCH),
    )
    whole = [distributed.fetch(placement.put_batch(b, mesh)) for b in batch]
    found[name] = {
      'read': rows.read,
      'tokens': [b.tokens.tolist() for b in whole],
      'row_id': [b.row_id.tolist() for b in whole],
      'owned': placement.owned(mesh, BATCH).tolist(),
      'local': placement.local_rows(mesh, BATCH).tolist(),
    }
  path = folder / f'read{jax.process_index()}.json'
  path.write_text(json.dumps(found))


def _first(index: int, count: int) -> list[int]:
  ids = [d.id for d in jax.devices() if d.process_index == index]
  return ids[:count]


@distributed.ending_soon()
def main(folder: pathlib.Path, earlier: str, rows: str = '') -> None:
  folder.mkdir(exist_ok=True)
  if rows:
    reading(folder)
  layout(folder, earlier)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
