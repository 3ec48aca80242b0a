"""Checkpoints: everything trained, its keys and the data position."""

from __future__ import annotations

import json
import math
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from instructgpt_jax.runtime import distributed, run


class CheckpointMismatch(ValueError):
  """What is on disk has other shapes, another model or another tokenizer."""


class Restored(NamedTuple):
  """One checkpoint, in the shardings of the abstract state it was read into."""

  step: int
  state: Any
  data_state: dict[str, Any]
  extra: dict[str, Any]


def abstract(tree: Any) -> Any:
  """Returns the shapes, types and shardings of a tree of arrays."""
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=getattr(x, 'sharding', None)
    ),
    tree,
  )


def signature(tree: Any) -> dict[str, str]:
  """Returns {'params/a/kernel': 'float32[3,4]', ...} of (abstract) arrays."""
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): (
      f'{x.dtype}[{",".join(map(str, x.shape))}]'
    )
    for path, x in leaves
  }


class Checkpointer:
  """Saves in the background, keeps the newest `keep` and the best one.

  `best` names the entry of `metrics` that decides, `best_mode` whether small
  ('min') or large ('max') is good. `identity` (model config, tokenizer
  fingerprint) is stored and compared on restoring. An interrupted save leaves
  a temporary folder that is never read and is removed at the next start.
  """

  def __init__(
    self,
    folder: str | os.PathLike[str],
    *,
    keep: int = 2,
    best: str | None = None,
    best_mode: Literal['min', 'max'] = 'min',
    identity: Mapping[str, Any] | None = None,
  ):
    self.folder = pathlib.Path(folder).absolute()
    self.folder.mkdir(parents=True, exist_ok=True)
    self.best = best
    self._sign = 1 if best_mode == 'max' else -1
    self._identity = run.plain(identity or {})
    training = ocp.training
    policies: list[Any] = [training.preservation_policies.LatestN(keep)]
    if best:
      policies.append(
        training.preservation_policies.BestN(
          get_metric_fn=self._merit,
          n=1,
          keep_checkpoints_without_metrics=False,
        )
      )
    self._orbax = training.Checkpointer(
      self.folder,
      save_decision_policy=(
        training.save_decision_policies.FixedIntervalPolicy(1)
      ),
      preservation_policy=(
        training.preservation_policies.AnyPreservationPolicy(policies)
      ),
      cleanup_tmp_directories=True,
    )

  def _merit(self, metrics: Mapping[str, float] | None) -> float:
    """Returns a number that is larger for a better checkpoint."""
    value = (metrics or {}).get(self.best or '')
    if value is None or not math.isfinite(value):
      return -math.inf
    return self._sign * value

  def save(
    self,
    step: int,
    state: Any,
    data_state: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    metrics: Mapping[str, float] | None = None,
  ) -> None:
    """Copies `state` off the device, then writes it in the background.

    When it returns, `state` may be donated. A step that is on disk already is
    left as it is. `data_state` and `extra` must be JSON.
    """
    if step in self.steps():
      return
    self._orbax.save_checkpointables_async(
      step,
      {'state': state},
      metrics=None if metrics is None else _floats(metrics),
      custom_metadata={
        'identity': self._identity,
        'signature': signature(state),
        'data_state': dict(data_state or {}),
        'extra': run.plain(extra or {}),
      },
    )

  def steps(self) -> list[int]:
    """Returns the steps on disk (or being written), rising."""
    return [c.step for c in self._orbax.checkpoints]

  def latest_step(self) -> int | None:
    """Returns the newest step, None when nothing was saved."""
    return max(self.steps(), default=None)

  def best_step(self) -> int | None:
    """Returns the step of the best `best` metric, the newest among equals."""
    scored = [
      (self._merit(c.metrics), c.step)
      for c in self._orbax.checkpoints
      if c.metrics is not None
    ]
    merit, step = max(scored, default=(-math.inf, None))
    return step if merit > -math.inf else None

  def restore_latest(self, abstract_state: Any) -> Restored | None:
    """Returns the newest complete checkpoint, None when there is none.

    Arrays come back in the shardings of `abstract_state` (`abstract(state)`),
    whatever the mesh they were saved from.

    Raises:
      CheckpointMismatch: listing each shape or identity that differs.
    """
    self.wait()
    for step in reversed(self.steps()):
      if self._notes(step):  # a folder that is not ours has no notes
        return self.restore(step, abstract_state)
    return None

  def restore(self, step: int, abstract_state: Any) -> Restored:
    """Returns the checkpoint of `step`; raises as `restore_latest` does."""
    self.wait()
    if step not in self.steps():
      raise ValueError(
        f'no checkpoint of step {step} in {self.folder}: it holds '
        f'{self.steps() or "none"}'
      )
    notes = self._notes(step)
    _compare(
      self.folder / str(step),
      notes.get('identity', {}) | {'state': notes.get('signature', {})},
      self._identity | {'state': signature(abstract_state)},
    )
    loaded = self._orbax.load_checkpointables(step, {'state': abstract_state})
    return Restored(step, loaded['state'], notes['data_state'], notes['extra'])

  def _notes(self, step: int) -> dict[str, Any]:
    return self._orbax.checkpointables_metadata(step).custom_metadata or {}

  def wait(self) -> None:
    """Returns when every save is on disk; raises what a save raised."""
    self._orbax.wait()

  def close(self) -> None:
    """Waits, then frees the background threads."""
    self._orbax.close()

  def __enter__(self) -> Checkpointer:
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
  return {k: float(v) for k, v in metrics.items()}


def _compare(
  where: pathlib.Path, saved: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
  changes = run.changed_settings(saved, wanted)
  if not changes:
    return
  shown = changes[:12] + ['...'] * (len(changes) > 12)
  lines = '\n'.join(f'  {line}' for line in shown)
  raise CheckpointMismatch(
    f'{where} does not fit this run ({len(changes)} differences, saved -> '
    f'wanted):\n{lines}\nGive the model and tokenizer settings it was trained '
    'with, or choose another --workdir.'
  )


def save_params(
  folder: str | os.PathLike[str],
  params: Any,
  metadata: Mapping[str, Any],
) -> None:
  """Writes trained parameters and their metadata; replaces what was there.

  `folder/arrays` is an orbax checkpoint, `folder/metadata.json` (written last)
  holds `metadata`, by convention `model` (config) and `tokenizer`
  (fingerprint), and the signature of the arrays.
  """
  folder = pathlib.Path(folder).absolute()
  if distributed.is_main():
    (folder / 'metadata.json').unlink(missing_ok=True)
    shutil.rmtree(folder / 'arrays', ignore_errors=True)
  distributed.barrier(f'save {folder.name}')
  ocp.save_checkpointables(folder / 'arrays', {'params': params})
  if distributed.is_main():
    notes = dict(metadata) | {'signature': signature(params)}
    run.write_json(folder / 'metadata.json', notes)
  distributed.barrier(f'saved {folder.name}')


def load_metadata(folder: str | os.PathLike[str]) -> dict[str, Any]:
  """Returns what `save_params` was given (with the signature).

  Raises:
    ValueError: if the folder holds no finished parameters.
  """
  path = pathlib.Path(folder) / 'metadata.json'
  try:
    return json.loads(path.read_text(encoding='utf-8'))
  except FileNotFoundError:
    raise ValueError(
      f'no trained parameters in {folder} ({path.name} is missing): run the '
      'stage that writes them, or correct the path'
    ) from None


def load_params(
  folder: str | os.PathLike[str],
  abstract_params: Any = None,
  *,
  expect: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any]]:
  """Returns (params, metadata) in the shardings of `abstract_params`.

  Without `abstract_params` the arrays come as numpy. `expect` gives entries
  the metadata must equal, such as `tokenizer` or `model`.

  Raises:
    CheckpointMismatch: listing each shape or expected entry that differs.
  """
  metadata = load_metadata(folder)
  wanted = run.plain(expect or {})
  saved = {key: metadata.get(key) for key in wanted}
  if abstract_params is not None:
    saved['params'] = metadata['signature']
    wanted['params'] = signature(abstract_params)
  _compare(pathlib.Path(folder), saved, wanted)
  target = abstract_params
  if target is None:
    target = _numpy_target(folder)
  arrays = pathlib.Path(folder).absolute() / 'arrays'
  loaded = ocp.load_checkpointables(arrays, {'params': target})
  return loaded['params'], metadata


def _numpy_target(folder: str | os.PathLike[str]) -> Any:
  arrays = pathlib.Path(folder).absolute() / 'arrays'
  saved = ocp.checkpointables_metadata(arrays).metadata['params']
  return jax.tree.map(lambda x: np.empty(x.shape, x.dtype), saved)
