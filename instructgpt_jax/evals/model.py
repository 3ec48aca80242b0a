"""What a task asks of a model: how likely texts are, and what it writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Request = tuple[str, str]  # context, continuation


class CannotAnswerError(Exception):
  """A model cannot do what a task asks. The text says why, and what to do."""


class Model(Protocol):
  """A language model as tasks see it; `engine.Engine` is one of ours.

  Answers come in the order of what was asked. A task asks for all it has at
  once: the model sorts and batches.
  """

  def loglikelihood(
    self, requests: Sequence[Request]
  ) -> list[tuple[float, bool]]:
    """Returns log p(continuation | context) in nats, summed over its tokens.

    And whether each of them was the most likely. An empty context is the
    beginning of a text.
    """

  def lengths(self, requests: Sequence[Request]) -> list[int]:
    """Returns of how many tokens the sums of `loglikelihood` are."""

  def rolling(self, texts: Sequence[str]) -> list[float]:
    """Returns log p of whole texts in nats, the first token's included."""

  def generate(
    self,
    prompts: Sequence[str],
    *,
    max_tokens: int,
    stop: Sequence[str],
    temperature: float = 0.0,
    seed: int = 0,
  ) -> list[str]:
    """Returns what follows each prompt, cut before the first of `stop`.

    Temperature 0 is greedy. Sample i draws its noise from (seed, i).

    Raises:
      CannotAnswerError: if it can read no more than it is to write.
    """
