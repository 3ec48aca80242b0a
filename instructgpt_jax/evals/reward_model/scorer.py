"""A reward model on its devices, that scores responses of any number."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import numpy as np

from instructgpt_jax import placement, sharding
from instructgpt_jax.data import chat, schema
from instructgpt_jax.data.builders import encoding
from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.evals.passes import Devices
from instructgpt_jax.evals.reward_model.groups import Record
from instructgpt_jax.evals.trees import rounded
from instructgpt_jax.runtime import distributed, interrupts
from instructgpt_jax.steps import reward as reward_lib
from instructgpt_jax.types import Params

Ids = list[int]


class Scorer:
  """Scores the `responses` of records, sorted by length, few shapes, sharded.

  All processes of a job must ask the same.
  """

  def __init__(
    self,
    model: nn.Module,
    params: Params,
    devices: Devices,
    tokenizer: Tokenizer,
    *,
    tokens: int,
    chat_format: bool = False,
  ):
    """Binds the model.

    Args:
      model: a ScalarModel.
      params: of it, on their devices.
      devices: where they lie.
      tokenizer: of this model.
      tokens: about how many each device takes at a time.
      chat_format: whether prompts are said by the chat template.
    """
    self._params, self._devices, self._tokenizer = params, devices, tokenizer
    self._compiled = jax.jit(functools.partial(reward_lib.score, model=model))
    self._ways = placement.ways(devices.mesh)
    self._tokens, self._chat = tokens * self._ways, chat_format
    self.longest = model.cfg.max_length

  def __call__(self, records: Sequence[Record]) -> list[np.ndarray]:
    """Returns [K] the score of each response, a record after another.

    Records have prompt or messages, `responses`, and `ended` where one was
    cut off. Of what is too long the beginning of the prompt is left out.
    """
    sequences = self.sequences(records)
    flat = np.zeros(len(sequences))
    for places, tokens, mask in self._batches(sequences):
      interrupts.leave_if_asked()
      flat[places] = self.score_rows(tokens, mask)[: len(places)]
    ends = np.cumsum([len(record['responses']) for record in records])
    return np.split(flat, ends[:-1])

  def score_rows(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns [B] the score at the last real token of rows [B L].

    B of any size; see `invariance`.
    """
    rows = -(-len(tokens) // self._ways) * self._ways
    more = [(0, rows - len(tokens)), (0, 0)]
    whole = [np.pad(x, more, mode='edge') for x in (tokens, mask)]
    mesh = self._devices.mesh
    placed = placement.put_batch(placement.local_part(whole, mesh), mesh)
    with sharding.use(mesh, self._devices.rules):
      found = distributed.fetch(self._compiled(self._params, *placed))
    return np.asarray(found[: len(tokens)], np.float64)

  def sequences(self, records: Sequence[Record]) -> list[Ids]:
    """Returns the ids of prompt, response and EOS, of every response."""
    stats: collections.Counter[str] = collections.Counter()
    found = []
    for record, prompt, answers in self._encoded(records, stats):
      ended = record.get('ended') or [True] * len(answers)
      for answer, end in zip(answers, ended, strict=True):
        ids = [*answer, *([self._tokenizer.eos_id] if end else [])]
        ids = ids[-(self.longest - 1) :]
        asked = encoding.fit_prompt(
          prompt,
          self.longest - len(ids),
          'truncate_left',
          stats,
          self._tokenizer.prefix,
        )
        found.append([*(asked or []), *ids])
    return found

  def _encoded(
    self, records: Sequence[Record], stats: collections.Counter[str]
  ) -> Iterator[tuple[Record, Ids, list[Ids]]]:
    tokenizer = self._tokenizer
    texts = [text for record in records for text in record['responses']]
    if self._chat and chat.trims(tokenizer):
      texts = [text.strip() for text in texts]
    # Not with the prompts: a policy may have said nothing, a prompt may not.
    ids = iter(tokenizer.encode_batch(texts, behind=True))
    # A single prompt of the user: the responses are none of its messages.
    asked = [
      ({k: v for k, v in record.items() if k != 'responses'}, _where(record))
      for record in records
    ]
    prompts = encoding.answered(
      asked, tokenizer, None, stats, chat_format=self._chat
    )
    for record, found in zip(records, prompts, strict=True):
      yield record, found.prompt, [next(ids) for _ in record['responses']]

  def _batches(
    self, sequences: Sequence[Ids]
  ) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Yields (places, tokens [B L], mask [B L]): like lengths together."""
    left = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    while left:
      length = min(rounded(len(sequences[left[0]]), 16), self.longest)
      rows = max(1, self._tokens // length // self._ways) * self._ways
      part, left = left[:rows], left[rows:]
      tokens = np.full((rows, length), self._tokenizer.pad_id, np.int32)
      mask = np.zeros((rows, length), bool)
      mask[:, 0] = True  # rows beyond the last sequence: read, not reported
      for row, i in enumerate(part):
        tokens[row, : len(sequences[i])] = sequences[i]
        mask[row, : len(sequences[i])] = True
      yield part, tokens, mask


def _where(record: Record) -> str:
  return f'the prompt {schema.shown(record.get("id"))}'
