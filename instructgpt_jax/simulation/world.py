"""The embedded world: users, demonstrators and text, streamed by seed.

Record i of a stream depends only on (seed, stream, i), so a stream has any
length, starts anywhere, and never has to be held in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from instructgpt_jax.simulation import users
from instructgpt_jax.simulation.draws import Draw
from instructgpt_jax.simulation.instructions import (
  Instruction,
  draw_instruction,
  prompt_text,
)
from instructgpt_jax.simulation.replies import DEMONSTRATORS, reply
from instructgpt_jax.simulation.tasks import make_facts
from instructgpt_jax.simulation.text import draw_document

Record = dict[str, Any]
SPLITS = ('train', 'heldout')


class World:
  """All data of one seed; the seed decides facts, users and every draw.

  `log_noise` plants near-duplicates and personal data in the prompts that
  train (demonstrations and prompts); the held-out part is always clean.
  """

  def __init__(self, seed: int = 0, *, log_noise: bool = True):
    self.seed = seed
    self.log_noise = log_noise
    self.facts = make_facts(seed)

  def demonstrations(self, n: int, *, start: int = 0) -> Iterator[Record]:
    """Yields demonstrations start .. start + n - 1."""
    return (self.demonstration(i) for i in range(start, start + n))

  def prompts(
    self, n: int, split: str = 'train', *, start: int = 0
  ) -> Iterator[Record]:
    """Yields prompts; the splits share no text and no user.

    Raises:
      ValueError: if the split is neither 'train' nor 'heldout'.
    """
    _check(split)
    return (self.prompt(i, split) for i in range(start, start + n))

  def text_documents(
    self, n: int, split: str = 'train', *, start: int = 0
  ) -> Iterator[Record]:
    """Yields pretraining documents; the splits share no document.

    Raises:
      ValueError: if the split is neither 'train' nor 'heldout'.
    """
    _check(split)
    return (self.text_document(i, split) for i in range(start, start + n))

  def demonstration(self, i: int) -> Record:
    """Returns demonstration i: a prompt and one person's reply."""
    record, instruction = self._logged('demonstrations', i, False)
    draw = Draw(self.seed, 'demonstrators', i)
    who = draw.pick(DEMONSTRATORS)
    record['response'] = ' ' + reply(draw, who, instruction)
    record['meta']['demonstrator'] = who.name
    return {'id': f'demonstration-{i:06d}', **record}

  def prompt(self, i: int, split: str = 'train') -> Record:
    """Returns prompt i of a split."""
    _check(split)
    record, _ = self._logged(f'prompts/{split}', i, split == 'heldout')
    return {'id': f'prompt-{split}-{i:06d}', **record}

  def text_document(self, i: int, split: str = 'train') -> Record:
    """Returns pretraining document i of a split."""
    _check(split)
    draw = Draw(self.seed, 'text', split, i)
    text = draw_document(draw, self.facts, held_out=split == 'heldout')
    return {'id': f'text-{split}-{i:06d}', 'source': 'world', 'text': text}

  def _asked(
    self, stream: str, i: int, held_out: bool
  ) -> tuple[Draw, str, Instruction]:
    draw = Draw(self.seed, stream, i)
    user = users.draw_user(draw, held_out=held_out)
    asked = draw_instruction(draw, self.facts, held_out=held_out)
    return draw, user, asked

  def _logged(
    self, stream: str, i: int, held_out: bool
  ) -> tuple[Record, Instruction]:
    """Returns the record of a prompt as the log has it, and what is asked."""
    draw, user, asked = self._asked(stream, i, held_out)
    planted, question, noisy = None, asked.question, self.log_noise
    if noisy and not held_out:
      if i and draw.chance(users.NEAR_DUPLICATES):
        earlier = i - 1 - draw.below(min(i, users.RECENT))
        _, user, asked = self._asked(stream, earlier, held_out)
        asked = users.vary(draw, asked)
        planted, question = 'near_duplicate', asked.question
      elif (
        draw.chance(users.PERSONAL_DATA)
        and len(question.split()) <= users.MAX_QUESTION
      ):
        planted = 'personal_data'
        question = f'{users.personal_data(draw)} {question}'
    record = {
      'source': 'world',
      'prompt': prompt_text(question),
      'user_id': user,
      'family': asked.family,
      'meta': {**asked.meta(), 'planted': planted},
    }
    return record, asked


def _check(split: str) -> None:
  if split not in SPLITS:
    raise ValueError(f'split {split!r} is unknown: use one of {SPLITS}.')
