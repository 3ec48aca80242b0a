"""The mesh block of a config: what it makes, and what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from instructgpt_jax import sharding
from instructgpt_jax.models import axes, decoder
from instructgpt_jax.models.axes import Rules

_TABLES = ('rules', 'decode_rules')


def mesh(
  settings: ConfigDict, devices: Sequence[jax.Device] | None = None
) -> jax.sharding.Mesh:
  """Returns the mesh of a mesh block; see `sharding.make_mesh`."""
  chosen: dict[str, Any] = {} if devices is None else {'devices': devices}
  return sharding.make_mesh(
    data=settings.data,
    fsdp=settings.fsdp,
    tensor=settings.tensor,
    replica=settings.replica,
    granule=settings.granule,
    **chosen,
  )


def rules(config: ConfigDict) -> Rules:
  """Returns what axes mean on the mesh while a model is trained or read."""
  return axes.table(config.mesh.rules)


def decode_rules(config: ConfigDict) -> Rules:
  """Returns what they mean while a policy writes."""
  return axes.table(config.mesh.rules, config.mesh.decode_rules)


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the tables of rules."""
  wrong = [
    line
    for key in _TABLES
    for line in axes.problems(f'mesh.{key}', config.mesh[key], sharding.AXES)
  ]
  yield from wrong
  if not wrong:
    yield from axes.gaps('mesh.rules', rules(config))
    made = rules(config), decode_rules(config)
    for key, found in zip(_TABLES, made, strict=True):
      yield from axes.clashes(f'mesh.{key}', found, sharding.AXES)


def replicated(session: Any) -> str | None:
  """Returns a warning of large weights that lie whole on every chip, or None.

  Also of axes that the mesh does not divide where much hangs on them. Raises
  ValueError of the first instead where the config says so.
  """
  wholes, undivided = [], []
  for block, boxed in _models(session).items():
    above = session.config.mesh.replicated_above_mb * 1e6
    leaves = sharding.whole(boxed, session.mesh, session.rules, above)
    wholes += [_whole(block, leaf) for leaf in leaves]
    said = {axis for leaf in leaves for axis in leaf.undivided}
    axes_of = sharding.undivided(boxed, session.mesh, session.rules)
    undivided += [
      f'{_undivided(axis)}, and {size / 1e6:.0f} MB of {block} lie '
      f'whole over {axis.over[-1]}. Give {" or ".join(_fixes(block, [axis]))}'
      for axis, size in axes_of.items()
      if size > above and axis not in said
    ]
  if wholes and session.config.mesh.replicated == 'error':
    raise ValueError('; '.join(wholes))
  lines = wholes + undivided
  return '\n'.join(f'warning: {line}' for line in lines) or None


def _models(session: Any) -> dict[str, Any]:
  """Returns the boxed shapes of what a run trains, by block of the config."""
  sizes = session.mesh.shape
  if sizes['fsdp'] * sizes['tensor'] == 1:
    return {}
  models = {'model': session.language_model()}
  if {'reward', 'labeler_cv', 'ppo', 'evaluate'} & set(session.config.stages):
    models['reward_model'] = session.scalar_model()
  return {
    block: jax.eval_shape(
      functools.partial(decoder.init_params, model, boxed=True),
      jax.random.key(0),
    )
    for block, model in models.items()
  }


def _whole(block: str, leaf: sharding.Whole) -> str:
  found = (
    f'{block} {leaf.path} {list(leaf.shape)} ({leaf.bytes / 1e6:.0f} MB) lies '
    'whole on every chip: '
  )
  if not leaf.undivided:
    return f'{found}mesh.rules splits none of its axes over fsdp or tensor'
  reasons = '; '.join(_undivided(axis) for axis in leaf.undivided)
  return f'{found}{reasons}. Give {" or ".join(_fixes(block, leaf.undivided))}'


def _undivided(axis: sharding.Undivided) -> str:
  over = ' x '.join(axis.over)
  return f'{axis.name} {axis.size} does not divide over {over} = {axis.ways}'


def _fixes(block: str, axes_of: Sequence[sharding.Undivided]) -> list[str]:
  fixes = []
  for axis in axes_of:
    if axis.name == 'vocab':
      fixes.append(f'--config.{block}.vocab_multiple={axis.ways}')
    elif axis.name == 'heads':
      fixes.append(f'a mesh.tensor that divides {block}.heads and kv_heads')
  return [*fixes, 'another mesh']
