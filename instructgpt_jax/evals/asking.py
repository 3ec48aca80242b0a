"""Texts into token ids, as lm-evaluation-harness cuts them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from instructgpt_jax.data.tokenizer import Tokenizer
from instructgpt_jax.evals.model import Request
from instructgpt_jax.evals.trees import Asked


def pairs(
  tokenizer: Tokenizer, requests: Sequence[Request], longest: int
) -> list[Asked]:
  """Returns the ids of context and continuation, the latter to be scored.

  Both are encoded together; what the continuation adds is scored. Blanks that
  end a context go to the continuation, where tokens carry them. A context
  begins with what the tokenizer puts before a text; an empty one is BOS, or
  EOS where there is none. Of what is too long the end is kept: `longest` is of
  what the model reads, which is all but the last token.
  """
  split = [_split(*request) for request in requests]
  wholes = tokenizer.encode_batch([a + b for a, b in split])
  contexts = tokenizer.encode_batch([context for context, _ in split])
  found = []
  for (context, continuation), ids, before in zip(
    split, wholes, contexts, strict=True
  ):
    # An end that melts into the token before it is scored by that token.
    count = max(len(ids) - len(before), min(1, len(continuation)))
    whole = [*(tokenizer.prefix if context else begin(tokenizer)), *ids]
    whole = whole if len(whole) > count else [*begin(tokenizer), *whole]
    kept = whole[-(longest + 1) :]
    found.append(Asked(tuple(kept), min(count, len(kept) - 1)))
  return found


def _split(context: str, continuation: str) -> Request:
  bare = context.rstrip()
  return bare, context[len(bare) :] + continuation


def windows(
  tokenizer: Tokenizer, texts: Sequence[str], longest: int
) -> Iterator[tuple[int, Asked]]:
  """Yields (text, a part of it): every token is scored once.

  Parts are as long as the model reads. The last is the end of the text, of
  which only what no part before it held is scored.
  """
  for i, ids in enumerate(tokenizer.encode_batch(texts)):
    # A tokenizer's own BOS is scored after the beginning, as a token of the
    # text: so do the perplexities of the harness.
    whole = [*begin(tokenizer), *tokenizer.prefix, *ids]
    count = len(whole) - 1
    for start in range(0, count, longest):
      end = min(start + longest, count)
      kept = whole[max(0, end - longest) : end + 1]
      yield i, Asked(tuple(kept), end - start)


def prompts(
  tokenizer: Tokenizer, texts: Sequence[str], longest: int
) -> list[list[int]]:
  """Returns the ids of texts to go on from, of long ones the end."""
  return [
    [*tokenizer.prefix, *ids][-longest:] or begin(tokenizer)
    for ids in tokenizer.encode_batch(texts)
  ]


def begin(tokenizer: Tokenizer) -> list[int]:
  """Returns what stands before the first token of a text."""
  bos = tokenizer.bos_id
  return [tokenizer.eos_id if bos is None else bos]
