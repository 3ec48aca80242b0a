"""The base model with a prefix of examples, the best by reward score (3.5).

The paper's "GPT-3 prompted": a few-shot prefix brings the base model into an
instruction-following mode. Ours is chosen among draws of demonstrations.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from instructgpt_jax.data import pipeline
from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.evals import writing
from instructgpt_jax.evals.model import Model, Request
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import (
  candidates,
  inputs,
  judging,
  keeping,
  reading,
  responses,
)
from instructgpt_jax.stages.responses import Response
from instructgpt_jax.stages.session import Session

NAME = 'base_prompted'
POOL = 1_000  # demonstrations that prefixes are drawn from


@dataclasses.dataclass(frozen=True)
class Prompted:
  """A model that reads a prefix before whatever it is asked."""

  model: Model
  prefix: str

  def _before(self, requests: Sequence[Request]) -> list[Request]:
    return [(self.prefix + a, b) for a, b in requests]

  def loglikelihood(
    self, requests: Sequence[Request]
  ) -> list[tuple[float, bool]]:
    return self.model.loglikelihood(self._before(requests))

  def lengths(self, requests: Sequence[Request]) -> list[int]:
    return self.model.lengths(self._before(requests))

  def rolling(self, texts: Sequence[str]) -> list[float]:
    return self.model.rolling(texts)

  def generate(
    self,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    stop: Sequence[str],
    temperature: float = 0.0,
    seed: int = 0,
  ) -> list[str]:
    return self.model.generate(
      [self.prefix + prompt for prompt in prompts],
      max_tokens=max_tokens,
      stop=stop,
      temperature=temperature,
      seed=seed,
    )


def chosen(
  session: Session, folder: pathlib.Path, kept: keeping.Kept
) -> dict[str, Any]:
  """Returns {'text': the prefix of most reward, 'reward_scores': of all}.

  On validation prompts; what the reward model reads is the prompt without the
  prefix. And `note`, where there is room for no demonstration.
  """
  settings = session.config.evaluate.prompted
  found = distributed.decide(lambda: list(prefixes(session)))
  rows = inputs.prompts(session, 'probe')[: settings.prompts]
  written = _written(session, folder, found, rows, (0.0,), kept)
  scores = judging.scored(
    session, {str(i): of[0] for i, of in enumerate(written)}, kept
  )
  means = [float(scores[str(i)].mean()) for i in range(len(found))]
  best = found[int(np.argmax(means))]
  chosen = {'text': best, 'reward_scores': means}
  if not any(found):
    chosen['note'] = (
      'no demonstration leaves room for a prompt and its answer: '
      f'{NAME} is the base model'
    )
  return chosen


def written(
  session: Session,
  folder: pathlib.Path,
  prefix: str,
  base: judging.Written,
  kept: keeping.Kept,
) -> judging.Written:
  """Returns what the base model writes behind a prefix."""
  rows = inputs.prompts(session, 'heldout')[: session.config.evaluate.prompts]
  [found] = _written(session, folder, [prefix], rows, (1.0, 0.0), kept)
  # Documents are read without a prefix.
  return dataclasses.replace(base, sampled=found[0], greedy=found[1])


def _written(
  session: Session,
  folder: pathlib.Path,
  prefixes: Sequence[str],
  rows: Any,
  temperatures: Sequence[float],
  kept: keeping.Kept,
) -> list[list[list[Response]]]:
  """Returns of each prefix, of each temperature, the answers to all rows."""
  found = candidates.opened(session, folder, own=True)
  theirs = keeping.Named(kept, session, found.model, found.params, NAME)
  return [
    [
      _answers(session, found, theirs, prefix, rows, temperature)
      for temperature in temperatures
    ]
    for prefix in prefixes
  ]


def _answers(
  session: Session,
  found: candidates.Opened,
  kept: keeping.Named,
  prefix: str,
  rows: Any,
  temperature: float,
) -> list[Response]:
  """Returns an answer to each prompt, cut where an example would begin."""
  data, words = session.config.data, session.tokenizer
  records = pipeline.rows_of(rows, range(len(rows)))
  before = words.encode(prefix)
  longest = found.model.cfg.max_length - data.response_length
  begin = len(words.prefix)  # which the tokens of a prompt begin with
  asked = [
    [*words.prefix, *before, *record['tokens'][begin:]][-longest:]
    for record in records
  ]
  ends = writing.Ends(words, data.response_length, (end(session),))
  ids = responses.written(
    session,
    found.model,
    found.params,
    [{'tokens': np.array(one, np.int32)} for one in asked],
    sampling=session.sampling(temperature),
    batch_size=session.config.evaluate.batch_size,
    seed=session.config.seed + judging.SEED,
    length=max(map(len, asked)),
    stop_ids=session.everywhere(lambda: jnp.array(ends.ids())),
    kept=kept,
  )
  cuts = [cut(words, one, end(session))[: data.response_length] for one in ids]
  return [
    responses.built(session, record, one, pad_id=words.pad_id)
    for record, one in zip(records, cuts, strict=True)
  ]


def cut(words: Tokenizer, ids: Sequence[int], stop: str) -> list[int]:
  """Returns the ids before `stop`, as they were written, and EOS after them.

  Only what shares a token with the stop string is encoded anew. Without it, or
  EOS, the text was cut off and stays as it is.
  """
  at = next((i for i, x in enumerate(ids) if x in words.stop_ids), len(ids))
  kept = list(ids[:at])
  text = words.decode(kept)
  if stop not in text:
    return list(ids[: at + 1])
  text = text[: text.index(stop)]
  while not text.startswith(words.decode(kept)):
    kept.pop()
  rest = text[len(words.decode(kept)) :]
  more = words.encode_batch([rest], behind=True)[0] if rest else []
  return [*kept, *more, words.eos_id]


def prefixes(session: Session) -> Iterator[str]:
  """Yields draws of demonstrations, as many as leave room for a prompt."""
  config, words = session.config, session.tokenizer
  data, settings = config.data, config.evaluate.prompted
  longest = session.language_model().cfg.max_length
  room = longest - data.prompt_length - data.response_length
  pool = [
    f'{record["prompt"]}{record["response"]}{end(session)}'
    for record, _ in itertools.islice(
      reading.of(session, 'demonstrations', 'train'), POOL
    )
    if isinstance(record.get('prompt'), str)
  ]
  rng = np.random.default_rng(config.seed)
  for _ in range(settings.candidates):
    prefix = ''
    for i in rng.permutation(len(pool)):
      longer = prefix + pool[i]
      if len(words.encode(longer)) > room:
        if prefix:
          break
        continue
      prefix = longer
    yield prefix


def end(session: Session) -> str:
  """Returns what stands between examples; answers of the world have a line."""
  return '\n' if session.config.data.source == 'world' else '\n\n'
