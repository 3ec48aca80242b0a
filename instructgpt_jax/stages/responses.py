"""Let a policy answer many prompts, and score what it wrote."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from instructgpt_jax import placement
from instructgpt_jax.data import pipeline
from instructgpt_jax.runtime import distributed, interrupts
from instructgpt_jax.stages import keeping
from instructgpt_jax.stages.keeping import Named
from instructgpt_jax.stages.session import Session
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.steps import rollout as rollout_lib
from instructgpt_jax.types import Generation, Params


@dataclasses.dataclass(frozen=True)
class Response:
  """One answer: its text, and the arrays it came from."""

  row: dict[str, Any]  # the prompt's record
  text: str
  ended: bool  # whether the policy wrote the stop token
  tokens: np.ndarray  # [L], the left-padded prompt included
  mask: np.ndarray  # [L]
  length: int  # response tokens, the stop token included


def write(
  session: Session,
  model: nn.Module,
  params: Params,
  rows: Sequence[dict[str, Any]],
  *,
  sampling: rollout_lib.Sampling,
  batch_size: int,
  seed: int,
  kept: Named | None = None,
) -> list[Response]:
  """Returns one response per row, in order.

  Row i draws its noise from (seed, i), so that batch size, mesh and
  neighbours do not change what is written. With `kept` batches are on the
  disk as they come.
  """
  ids = written(
    session,
    model,
    params,
    rows,
    sampling=sampling,
    batch_size=batch_size,
    seed=seed,
    kept=kept,
  )
  records = pipeline.rows_of(rows, range(len(rows)))
  return [
    built(session, *pair, pad_id=sampling.pad_id)
    for pair in zip(records, ids, strict=True)
  ]


def written(
  session: Session,
  model: nn.Module,
  params: Params,
  rows: Sequence[dict[str, Any]],
  *,
  sampling: rollout_lib.Sampling,
  batch_size: int,
  seed: int,
  length: int = 0,
  stop_ids: jax.Array | None = None,
  kept: Named | None = None,
) -> list[list[int]]:
  """Returns the ids written after each row, the stop token among them.

  `length` is what prompts are padded to (0: data.prompt_length), `stop_ids`
  what ends a response, if not the tokenizer's.
  """
  compiled = _generate(model, sampling)
  length = length or session.config.data.prompt_length
  stops = session.stop_ids if stop_ids is None else stop_ids
  key = session.everywhere(lambda: jax.random.key(seed))
  batches = enumerate(
    pipeline.prompt_batches_once(
      rows,
      batch_size=batch_size,
      length=length,
      pad_id=sampling.pad_id,
      local=placement.local_rows(session.mesh, batch_size),
    )
  )

  def compute(i: int) -> list[list[int]]:
    interrupts.leave_if_asked()
    batch = next(batch for number, batch in batches if number == i)
    prompts = placement.put_batch(batch, session.mesh)
    with session.on_mesh():
      generation = compiled(params, prompts, stops, key)
    # The last batch ends in rows without a prompt.
    return _ids(distributed.fetch(generation))[: len(rows) - i * batch_size]

  asked = _asked(rows, batch_size, kept)
  how = [length, sampling.max_new_tokens, sampling.temperature, seed]
  how.append(np.asarray(stops).tolist() if kept else 0)
  found = _each(
    kept, 'answers', [[how, i, one] for i, one in enumerate(asked)], compute
  )
  return list(itertools.chain.from_iterable(found))


def _asked(
  rows: Sequence[dict[str, Any]], size: int, kept: Named | None
) -> list[str]:
  """Returns for each batch of prompts what it is known by."""
  starts = range(0, len(rows), size)
  if kept is None:
    return ['' for _ in starts]
  parts = (range(i, min(i + size, len(rows))) for i in starts)
  return [
    keeping.digest(
      *(np.asarray(row['tokens']) for row in pipeline.rows_of(rows, part))
    )
    for part in parts
  ]


def _each(
  kept: Named | None,
  what: str,
  asked: Sequence[Any],
  compute: Callable[[int], Any],
) -> list[Any]:
  if kept is None:
    return [compute(i) for i in range(len(asked))]
  return kept.each(what, asked, compute)


@functools.lru_cache(maxsize=8)
def _generate(model: nn.Module, sampling: rollout_lib.Sampling) -> Any:
  return jax.jit(
    functools.partial(
      rollout_lib.respond, model=model, sampling_settings=sampling
    )
  )


def _ids(host: Generation) -> list[list[int]]:
  first = host.tokens.shape[1] - host.response_mask.shape[1]
  return [
    tokens[first:][answer].tolist()
    for tokens, answer in zip(host.tokens, host.response_mask, strict=True)
  ]


def built(
  session: Session, row: dict[str, Any], ids: Sequence[int], *, pad_id: int
) -> Response:
  """Returns a response of these ids to the prompt of a row."""
  words, data = session.tokenizer, session.config.data
  ids, prompt = list(ids), row['tokens']
  first, whole = data.prompt_length, data.prompt_length + data.response_length
  tokens, mask = np.full(whole, pad_id, np.int32), np.zeros(whole, bool)
  tokens[first - len(prompt) : first] = prompt
  tokens[first : first + len(ids)] = ids
  mask[first - len(prompt) : first + len(ids)] = True
  ended = bool(ids) and ids[-1] in words.stop_ids
  text = words.decode(ids[:-1] if ended else ids)
  return Response(row, text, ended, tokens, mask, len(ids))


def scores(
  session: Session,
  model: nn.Module,
  params: Params,
  written: Sequence[Response],
  kept: Named | None = None,
) -> np.ndarray:
  """Returns [n] the reward model's score of each response."""
  score = functools.partial(_score(model), params)
  return _in_batches(session, score, written, 'scores', kept)


def logps(
  session: Session,
  model: nn.Module,
  params: Params,
  written: Sequence[Response],
  kept: Named | None = None,
) -> np.ndarray:
  """Returns [n] the log-probability of each whole response at T = 1."""
  first = session.config.data.prompt_length
  analyze = _analyze(model, first, session.config.ppo.chunk)
  logp = functools.partial(analyze, params)
  return _in_batches(session, logp, written, 'log-probabilities', kept)


@functools.lru_cache(maxsize=8)
def _score(model: nn.Module) -> Any:
  return jax.jit(functools.partial(reward_lib.score, model=model))


@functools.lru_cache(maxsize=8)
def _analyze(model: nn.Module, prompt_length: int, chunk: int) -> Any:
  def logp(params: Params, tokens: jax.Array, mask: jax.Array) -> jax.Array:
    found = rollout_lib.analyze(
      params,
      tokens,
      mask,
      model=model,
      prompt_length=prompt_length,
      chunk=chunk,
    )[0]
    return jnp.where(mask[:, prompt_length:], found, 0.0).sum(1)

  return jax.jit(logp)


def _in_batches(
  session: Session,
  fn: Any,
  written: Sequence[Response],
  what: str = '',
  kept: Named | None = None,
) -> np.ndarray:
  """Returns fn(tokens, mask) of all rows, in batches of one shape."""
  size = session.config.evaluate.batch_size
  parts = [written[i : i + size] for i in range(0, len(written), size)]

  def compute(i: int) -> list[float]:
    interrupts.leave_if_asked()
    rows = [*parts[i], *[parts[i][-1]] * (size - len(parts[i]))]
    tokens, mask = placement.put_batch(
      placement.local_part(_stacked(rows), session.mesh), session.mesh
    )
    with session.on_mesh():
      result = distributed.fetch(fn(tokens, mask))
    return result[: len(parts[i])].tolist()

  asked = [keeping.digest(*_stacked(part)) if kept else '' for part in parts]
  found = _each(kept, what, asked, compute)
  return np.array(list(itertools.chain.from_iterable(found)))


def _stacked(rows: Sequence[Response]) -> tuple[np.ndarray, np.ndarray]:
  return np.stack([r.tokens for r in rows]), np.stack([r.mask for r in rows])
