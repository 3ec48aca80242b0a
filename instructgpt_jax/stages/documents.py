"""How well a model still predicts text that was held out of training."""

from __future__ import annotations

import functools

import jax
import numpy as np

from instructgpt_jax import placement
from instructgpt_jax.data import pipeline
from instructgpt_jax.runtime import distributed, interrupts
from instructgpt_jax.stages import candidates, inputs, keeping
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import sft as sft_lib


def losses(
  session: Session, found: candidates.Opened, kept: keeping.Named
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the summed loss and the token count of held-out documents."""
  settings = session.config.evaluate
  compiled = jax.jit(
    functools.partial(
      sft_lib.token_nll, model=found.model, chunk=session.config.sft.chunk
    )
  )
  rows = inputs.text_rows(session, 'heldout')[: settings.documents]
  size = settings.batch_size
  batches = enumerate(
    pipeline.token_batches_once(
      rows, batch_size=size, local=placement.local_rows(session.mesh, size)
    )
  )

  def compute(i: int) -> list[list[float]]:
    interrupts.leave_if_asked()
    batch = next(batch for number, batch in batches if number == i)
    placed = placement.put_batch(batch, session.mesh)
    with session.on_mesh():
      nll = compiled(found.params, placed)
    return _by_document(
      *distributed.fetch((nll, placed.segments, placed.loss_mask))
    )

  asked = [
    keeping.digest(
      *(
        np.asarray(row[field])
        for row in pipeline.rows_of(rows, range(i, min(i + size, len(rows))))
        for field in ('tokens', 'segments', 'loss_mask')
      )
    )
    for i in range(0, len(rows), size)
  ]
  pairs = [pair for part in kept.each('text', asked, compute) for pair in part]
  loss, count = np.array(pairs).reshape(-1, 2).T
  limit = settings.documents
  return loss[count > 0][:limit], count[count > 0][:limit]


def _by_document(
  nll: np.ndarray, segments: np.ndarray, masks: np.ndarray
) -> list[list[float]]:
  """Returns [loss, tokens] of each document of some rows."""
  found = []
  for loss, places, mask in zip(nll, segments, masks, strict=True):
    learned = np.where(mask, places, 0)
    number = int(places.max()) + 1
    weights = np.bincount(places, loss.astype(np.float64), number)[1:]
    counts = np.bincount(learned, minlength=number)[1:]
    found += np.stack([weights, counts], 1).tolist()
  return found
