"""What runs on the devices: a batch of rows is scored, or goes on writing."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh

from instructgpt_jax import placement, sharding
from instructgpt_jax.models import kernels
from instructgpt_jax.models.axes import Rules
from instructgpt_jax.runtime import distributed
from instructgpt_jax.steps import generation, rollout, scoring
from instructgpt_jax.types import Params, Prompts

LOGITS = 2**26  # values of the logits that exist at a time, on each device


@dataclasses.dataclass(frozen=True)
class Devices:
  """Where a model lies and how it is laid out; see stages.session."""

  mesh: Mesh
  rules: Rules
  decode_rules: Rules | None = None


@dataclasses.dataclass(frozen=True)
class Passes:
  """A model with its weights, and the programs that read them."""

  model: nn.Module
  params: Params
  devices: Devices

  @functools.cached_property
  def ways(self) -> int:
    """What the number of rows must be a multiple of."""
    return placement.ways(self.devices.mesh)

  @functools.cached_property
  def branching(self) -> bool:
    """Whether texts may share beginnings: where no kernel has its own mask."""
    cfg = self.model.cfg
    with self._on_mesh():
      kernel = kernels.choose(cfg, kernels.platform(), cfg.max_length)
    return kernel == 'xla' and not any(cfg.windows)

  def _on_mesh(self) -> Any:
    return sharding.use(self.devices.mesh, self.devices.rules)

  def _put(self, batch: Any) -> Any:
    mesh = self.devices.mesh
    return placement.put_batch(placement.local_part(batch, mesh), mesh)

  def score(
    self, rows: scoring.Trees, reads: scoring.Reads
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns [B Q] log p of what is read, and whether it is the likeliest."""
    hidden_of, read = _scorers(self.model, self.branching)
    rows, reads = self._put((rows, reads))
    each = len(rows.tokens) // self.ways * self.model.cfg.vocab_rows
    with self._on_mesh():
      hidden = hidden_of(self.params, rows)
      found = read(self.params, hidden, reads, chunk=max(1, LOGITS // each))
      return distributed.fetch(found)

  def write(
    self,
    prompts: tuple[np.ndarray, ...],
    stop_ids: jax.Array,
    key: jax.Array,
    sampling: generation.Sampling,
  ) -> list[list[int]]:
    """Returns the ids that were written in each row, the end included.

    `prompts` as the fields of types.Prompts.
    """
    placed = self._put(prompts)
    program = _writer(self.model, sampling)
    with self._on_mesh():
      found = distributed.fetch(
        program(self.params, Prompts(*placed), stop_ids, key)
      )
    answers = found.tokens[:, -sampling.max_new_tokens :]
    return [
      row[mask].tolist()
      for row, mask in zip(answers, found.response_mask, strict=True)
    ]


@functools.lru_cache(maxsize=8)
def _scorers(model: nn.Module, branching: bool) -> tuple[Any, Any]:
  hidden = functools.partial(
    scoring.hidden_states, model=model, branching=branching
  )
  read = functools.partial(scoring.read, model=model)
  return jax.jit(hidden), jax.jit(read, static_argnames='chunk')


@functools.lru_cache(maxsize=16)
def _writer(model: nn.Module, sampling: generation.Sampling) -> Any:
  return jax.jit(
    functools.partial(rollout.respond, model=model, sampling_settings=sampling)
  )
