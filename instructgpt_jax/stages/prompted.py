"""The base model with a prefix of examples, the best by reward score (3.5).

The paper's "GPT-3 prompted": a few-shot prefix brings the base model into an
instruction-following mode. Ours is chosen among draws of demonstrations.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from instructgpt_jax.evals.engine import Engine
from instructgpt_jax.evals.model import Model, Request
from instructgpt_jax.runtime import distributed
from instructgpt_jax.stages import inputs, judging, reading, responses
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


def chosen(session: Session, model: Engine) -> tuple[str, list[float]]:
  """Returns the prefix of most reward on validation prompts, and all scores.

  What the reward model reads is the prompt without the prefix.
  """
  settings = session.config.evaluate.prompted
  found = distributed.decide(lambda: list(prefixes(session)))
  rows = inputs.prompts(session, 'probe')[: settings.prompts]
  scalar = session.scalar_model()
  params = session.load('reward', scalar)
  means = []
  for prefix in found:
    written = answers(session, Prompted(model, prefix), rows, 0.0)
    means.append(
      float(responses.scores(session, scalar, params, written).mean())
    )
  return found[int(np.argmax(means))], means


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


def judge(
  session: Session, model: Model, base: judging.Judged
) -> judging.Judged:
  """Returns what `judging.judge` does of the base model behind a prefix."""
  rows = inputs.prompts(session, 'heldout')[: session.config.evaluate.prompts]
  sampled, greedy = (answers(session, model, rows, t) for t in (1.0, 0.0))
  scalar = session.scalar_model()
  return dataclasses.replace(
    base,  # documents are read without a prefix
    sampled=sampled,
    greedy=greedy,
    reward=responses.scores(
      session, scalar, session.load('reward', scalar), sampled
    ),
    gold=inputs.gold_totals(session, sampled),
    greedy_gold=inputs.gold_totals(session, greedy),
  )


def answers(
  session: Session, model: Model, rows: Any, temperature: float
) -> list[Response]:
  """Returns an answer to each prompt, cut where an example would begin."""
  records = [rows[i] for i in range(len(rows))]
  texts = model.generate(
    [record['prompt'] for record in records],
    max_tokens=session.config.data.response_length,
    stop=(end(session),),
    temperature=temperature,
    seed=session.config.seed + 10,
  )
  return [
    _response(session, record, text)
    for record, text in zip(records, texts, strict=True)
  ]


def _response(session: Session, record: dict[str, Any], text: str) -> Response:
  data, words = session.config.data, session.tokenizer
  text = text.strip()
  ids = [*words.encode(text), words.eos_id]
  ended = len(ids) <= data.response_length
  ids = ids[: data.response_length]
  prompt = list(record['tokens'])[-data.prompt_length :]
  first, whole = data.prompt_length, data.prompt_length + data.response_length
  tokens = np.full(whole, words.pad_id, np.int32)
  mask = np.zeros(whole, bool)
  tokens[first - len(prompt) : first] = prompt
  tokens[first : first + len(ids)] = ids
  mask[first - len(prompt) : first + len(ids)] = True
  nothing = np.zeros(data.response_length, np.float32)
  return Response(record, text, ended, tokens, mask, nothing, len(ids))
