"""Scores and writes for all tasks, in few shapes, on any mesh."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.evals import asking, cache, trees, writing
from instructgpt_jax.evals.model import CannotAnswerError, Request
from instructgpt_jax.evals.passes import Passes
from instructgpt_jax.runtime import interrupts, progress
from instructgpt_jax.steps import generation

SHORTEST = 128  # tokens of a row, if the model reads as many

Scored = tuple[float, bool]  # log p, and whether all of it is the likeliest


class Engine:
  """A `Model` of our params: all requests at once, sorted, packed, sharded.

  Answers are kept as they come where `answers` are given, and not asked for
  again: an evaluation that was killed goes on. All processes of a job must ask
  the same.
  """

  def __init__(
    self,
    passes: Passes,
    tokenizer: Tokenizer,
    *,
    tokens: int,
    answers: cache.Answers | None = None,
    name: str = 'evaluate',
  ) -> None:
    """Binds what answers.

    Args:
      passes: a LanguageModel on its devices.
      tokenizer: of this model.
      tokens: about how many each device takes at a time.
      answers: what is known already.
      name: what the progress bar shows.
    """
    self._passes, self.tokenizer, self._name = passes, tokenizer, name
    self._answers = answers
    self._tokens = tokens * passes.ways
    self._longest = passes.model.cfg.max_length
    self._last: tuple[list[Request], list[trees.Asked]] | None = None

  def loglikelihood(self, requests: Sequence[Request]) -> list[Scored]:
    return self._scores(self._pairs(requests))

  def lengths(self, requests: Sequence[Request]) -> list[int]:
    return [asked.scored for asked in self._pairs(requests)]

  def _pairs(self, requests: Sequence[Request]) -> list[trees.Asked]:
    """Returns the ids of requests; those of the last call are known."""
    if self._last is None or self._last[0] != list(requests):
      found = asking.pairs(self.tokenizer, requests, self._longest)
      self._last = list(requests), found
    return self._last[1]

  def rolling(self, texts: Sequence[str]) -> list[float]:
    parts = list(asking.windows(self.tokenizer, texts, self._longest))
    total = [0.0] * len(texts)
    found = self._scores([asked for _, asked in parts])
    for (i, _), (logp, _) in zip(parts, found, strict=True):
      total[i] += logp
    return total

  def generate(
    self,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    stop: Sequence[str],
    temperature: float = 0.0,
    seed: int = 0,
  ) -> list[str]:
    """Returns what follows each prompt; see model.Model.

    Of a prompt that leaves no room for `max_tokens` the end is kept.

    Raises:
      CannotAnswerError: if the model reads no more than `max_tokens`.
    """
    room = self._longest - max_tokens
    if room < 1:
      raise CannotAnswerError(
        f'{max_tokens} tokens are to be written by a model that reads '
        f'{self._longest}: lower how many the task writes.'
      )
    ids = asking.prompts(self.tokenizer, prompts, room)
    how = [max_tokens, list(stop), temperature]
    names = [
      cache.key('generate', p, *how, *([seed, i] if temperature else []))
      for i, p in enumerate(ids)
    ]
    ends = writing.Ends(self.tokenizer, max_tokens, tuple(stop))

    def write(missing: list[int]) -> Iterator[list[tuple[int, str]]]:
      texts = [writing.Text(i, ids[i], []) for i in missing]
      for done in self._written(texts, ends, temperature, seed):
        yield [(text.index, ends.text(text.written)) for text in done]

    return self._answered(names, write)

  def _answered(
    self,
    names: Sequence[str],
    compute: Callable[[list[int]], Iterator[list[tuple[int, Any]]]],
  ) -> list[Any]:
    """Returns an answer to each question, known or computed, and keeps it."""
    found: list[Any] = [None] * len(names)
    if self._answers is not None:
      found = self._answers.known(names)
    missing = [i for i, answer in enumerate(found) if answer is None]
    if not missing:
      return found
    bar = progress.Progress(self._name, len(missing), samples_per_step=1)
    bar.begin(0)
    done = 0
    with contextlib.closing(bar):
      for answers in compute(missing):
        for i, answer in answers:
          found[i] = answer
        if self._answers is not None:
          self._answers.add((names[i], answer) for i, answer in answers)
        done += len(answers)
        bar.update(done, {})
    return found

  def _scores(self, asked: Sequence[trees.Asked]) -> list[Scored]:
    names = [cache.key('score', a.ids, a.scored) for a in asked]
    found = self._answered(names, lambda missing: self._read(asked, missing))
    return [(logp, bool(greedy)) for logp, greedy in found]

  def _read(
    self, asked: Sequence[trees.Asked], missing: list[int]
  ) -> Iterator[list[tuple[int, Scored]]]:
    """Yields the scores of a batch at a time, with their requests."""
    yield [(i, (0.0, True)) for i in missing if not asked[i].scored]
    left = [i for i in missing if asked[i].scored]
    rows = trees.packed(
      [asked[i] for i in left], self._lengths(), share=self._passes.branching
    )
    for length, of_length in rows.items():
      most, ways = self._tokens // length, self._passes.ways
      waiting = of_length
      while waiting:
        interrupts.leave_if_asked()
        size = trees.size(len(waiting), most, ways)
        part, waiting = waiting[:size], waiting[size:]
        found = self._passes.score(*trees.batch(part, size, length))
        yield [(left[i], score) for i, score in _summed(part, *found)]

  def _lengths(self) -> list[int]:
    """Returns the lengths of rows: powers of 2, and what the model reads."""
    shorter = (SHORTEST << i for i in range(self._longest.bit_length()))
    return [*(n for n in shorter if n < self._longest), self._longest]

  def _written(
    self,
    texts: list[writing.Text],
    ends: writing.Ends,
    temperature: float,
    seed: int,
  ) -> Iterator[list[writing.Text]]:
    """Yields texts at their ends; a round of few tokens, then they are seen."""
    stop_ids = jnp.array(ends.ids())
    left, number = ends.max_tokens, 0
    while texts:
      sampling = generation.Sampling(
        min(left, writing.ROUND),
        temperature=temperature,
        pad_id=self.tokenizer.pad_id,
        layout=self._passes.devices.decode_rules,
      )
      key = jax.random.fold_in(jax.random.key(seed), number)
      going_on: list[writing.Text] = []
      for part, rows, length in writing.batches(
        texts,
        size=sampling.max_new_tokens,
        ways=self._passes.ways,
        tokens=self._tokens,
        longest=self._longest,
      ):
        interrupts.leave_if_asked()
        batch = writing.padded(part, rows, length)
        new = self._passes.write(batch, stop_ids, key, sampling)
        for text, ids in zip(part, new, strict=False):
          text.written += ids
        at_end = [ends.reached(text.written) for text in part]
        yield [t for t, end in zip(part, at_end, strict=True) if end]
        going_on += [t for t, end in zip(part, at_end, strict=True) if not end]
      left -= sampling.max_new_tokens
      texts, number = going_on, number + 1


def _summed(
  rows: Sequence[trees.Row], logp: np.ndarray, likeliest: np.ndarray
) -> Iterator[tuple[int, Scored]]:
  """Yields (request, its score) of the rows, which hold all of its tokens."""
  for row, values, best in zip(rows, logp, likeliest, strict=False):
    total: dict[int, Scored] = {}
    for (_, _, i), value, is_best in zip(row.reads, values, best, strict=False):
      before, greedy = total.get(i, (0.0, True))
      total[i] = before + float(value), greedy and bool(is_best)
    yield from total.items()
