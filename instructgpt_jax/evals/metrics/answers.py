"""F1 and exact match of short answers, by the rules of SQuAD, DROP, QuAC."""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Callable, Sequence

_PUNCTUATION = str.maketrans('', '', string.punctuation)
_ARTICLE = re.compile(r'\b(?:a|an|the)\b')

Measure = Callable[[str, str], float]


def normal(text: str) -> str:
  """Returns a text in lower case, without ASCII punctuation and articles.

  White space is one blank each (Rajpurkar et al. 2016, section 6.1).
  """
  text = text.lower().translate(_PUNCTUATION)
  return ' '.join(_ARTICLE.sub(' ', text).split())


def exact(said: str, answer: str) -> float:
  """Returns 1 for texts that are the same in normal form, else 0."""
  return float(normal(said) == normal(answer))


def f1(said: str, answer: str) -> float:
  """Returns the F1 of the words of two texts in normal form, as bags.

  2 P R / (P + R), P = common / words said, R = common / words of the answer.
  Where one of them has no words it is 1 if both have none, else 0: so SQuAD
  2.0 counts a question without an answer (Rajpurkar et al. 2018).
  """
  a, b = normal(said).split(), normal(answer).split()
  if not a or not b:
    return float(a == b)
  common = (collections.Counter(a) & collections.Counter(b)).total()
  return 2 * common / (len(a) + len(b))


def best(measure: Measure, said: str, answers: Sequence[str]) -> float:
  """Returns the measure against the answer that fits best."""
  return max(measure(said, answer) for answer in answers)


def without_one(measure: Measure, said: str, answers: Sequence[str]) -> float:
  """Returns the mean of `best` over all answers but one, each left out once.

  So QuAC makes models comparable with people, who have one answer fewer to
  agree with (Choi et al. 2018, section 4).
  """
  if len(answers) == 1:
    return measure(said, answers[0])
  found = [measure(said, answer) for answer in answers]
  order = sorted(found)
  # Only without the best one is the second best the best.
  return (order[-1] * (len(order) - 1) + order[-2]) / len(order)


def drop_normal(text: str) -> str:
  """Returns the normal form of DROP (Dua et al. 2019, section 5).

  Words end at hyphens too. Numbers are numbers: 5, 5.0 and 5.00 are the
  same, and their points stay.
  """
  words = (_drop_word(word) for word in re.split(r'[ \-]', text.lower()))
  return ' '.join(word for word in words if word)


def drop_exact(said: str, answer: str) -> float:
  """Returns 1 for texts that are the same in DROP's normal form, else 0."""
  return float(drop_normal(said) == drop_normal(answer))


def drop_f1(said: str, answer: str) -> float:
  """Returns the F1 of the words of two texts, as sets; of DROP.

  0 where the answer has numbers and none of them is said. Answers of several
  spans are one text, as the paper's references join them by 'and'.
  """
  a, b = set(drop_normal(said).split()), set(drop_normal(answer).split())
  numbers = {word for word in b if _is_number(word)}
  if numbers and not numbers & a:
    return 0.0
  if not a or not b:
    return float(a == b)
  return 2 * len(a & b) / (len(a) + len(b))


def _drop_word(word: str) -> str:
  if not _is_number(word):
    word = word.translate(_PUNCTUATION)
  if _is_number(word):
    word = str(float(word))
  return ' '.join(_ARTICLE.sub(' ', word).split())


def _is_number(word: str) -> bool:
  try:
    float(word)
  except ValueError:
    return False
  return True
