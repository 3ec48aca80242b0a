"""Answers of a model that has another tokenizer than the run: texts alone."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from instructgpt_jax.data import pipeline, schema
from instructgpt_jax.data.builders import encoding
from instructgpt_jax.evals.model import CannotAnswerError
from instructgpt_jax.evals.trees import rounded
from instructgpt_jax.stages import candidates, judging, keeping, responses
from instructgpt_jax.stages.session import Session


def answers(
  session: Session,
  found: candidates.Opened,
  rows: Sequence[dict[str, Any]],
  temperature: float,
  kept: keeping.Named,
) -> list[responses.Response]:
  """Returns one answer per row, of data.response_length tokens of its own.

  They come back in the tokens of the run, for its reward model; of an answer
  that is longer in these the reward model reads the beginning.

  Raises:
    CannotAnswerError: where its chat template cannot say the prompts, or it
      reads no more than it is to write.
  """
  config, words = session.config, found.session.tokenizer
  records = pipeline.rows_of(rows, range(len(rows)))
  new = config.data.response_length
  room = found.model.cfg.max_length - new
  if room < 1:
    raise CannotAnswerError(
      f'it reads {new + room} tokens, and {new} are to be written'
    )
  try:
    encoded = _encoded(session, words, records)
  except schema.DataError as error:
    raise CannotAnswerError(str(error)) from error
  prompts = [ids[-room:] for ids in encoded]
  written = responses.written(
    found.session,
    found.model,
    found.params,
    [{'tokens': np.array(ids, np.int32)} for ids in prompts],
    sampling=dataclasses.replace(
      session.sampling(temperature), pad_id=words.pad_id
    ),
    batch_size=config.evaluate.batch_size,
    seed=config.seed + judging.SEED,
    length=min(room, rounded(max(map(len, prompts)), 16)),
    kept=kept,
  )
  ended = [bool(ids) and ids[-1] in words.stop_ids for ids in written]
  texts = [
    words.decode(ids[:-1] if end else ids)
    for ids, end in zip(written, ended, strict=True)
  ]
  return _in_tokens_of_the_run(session, records, texts, ended)


def _encoded(
  session: Session, words: Any, records: Sequence[dict[str, Any]]
) -> list[list[int]]:
  asked = [
    ({k: v for k, v in record.items() if k != 'tokens'}, f'prompt {i}')
    for i, record in enumerate(records, 1)
  ]
  stats: collections.Counter[str] = collections.Counter()
  found = encoding.answered(
    asked, words, None, stats, chat_format=session.config.data.chat
  )
  return [one.prompt for one in found]


def _in_tokens_of_the_run(
  session: Session,
  records: Sequence[dict[str, Any]],
  texts: Sequence[str],
  ended: Sequence[bool],
) -> list[responses.Response]:
  words, longest = session.tokenizer, session.config.data.response_length
  found = []
  encoded = words.encode_batch(texts, behind=True)
  for record, text, ids, end in zip(
    records, texts, encoded, ended, strict=True
  ):
    whole = [*ids, *([words.eos_id] if end else [])]
    one = responses.built(session, record, whole[:longest], pad_id=words.pad_id)
    found.append(
      dataclasses.replace(one, text=text, ended=end, length=len(whole))
    )
  return found
