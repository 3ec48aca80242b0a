"""Does a reply correct, hedge, or keep to what was asked? By patterns.

A program sees words, not sense: these figures compare models with each other,
and no single reply should be judged by them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from instructgpt_jax.data.schema import DataError, wrong_type

Constraint = Mapping[str, Any]

# Ways to say that a question takes what is not so for granted, beside what its
# own patterns name. A bare 'not' is none: who goes along says that as well.
DENIALS = (
  r"\b(not|isn't|wasn't|aren't) (actually |really |quite |at all )?"
  r'(true|correct|accurate|the case|real|possible|a real)\b',
  r"\bthere (is|are|was|were)( no\b|n't\b| not\b| never\b)",
  r'\bno such\b',
  r'\b(myth|misconception|mistaken|untrue|fictional|fictitious)\b',
  r'\b(is|are|was|were) (false|incorrect|wrong|impossible|nonsense)\b',
  r"\b(do|does|did)(n't| not) (actually |really )?(exist|happen)\b",
  r'\bnever (actually )?(happened|existed)\b',
  r'\bcontrary to\b',
)
HEDGES = (
  r'\b(it|that|this) (really |all )?depends\b',
  r'\b(hard|difficult|impossible) to (say|know|tell|answer)\b',
  r'\b(there is|there.s) no (one|single|simple|right|definitive|clear)\b',
  r"\b(i am|i'm) not (sure|certain|able)\b",
  r'\bas an? (ai|language model)\b',
  r'\b(may|might|could) (possibly|perhaps|be|have|vary)\b',
  r'\b(perhaps|possibly|arguably|it is possible)\b',
  r'\bsome (people )?(say|believe|would say)\b',
  r'\b(many|several|various|different) (possible )?(answers|factors|views)\b',
  r"\bi (cannot|can't) (say|answer|be sure)\b",
)


def found(patterns: Sequence[str], text: str) -> bool:
  """Returns whether one of the patterns is in the text, in any case."""
  plain = text.replace('\u2019', "'")
  return any(re.search(p, plain, re.IGNORECASE) for p in patterns)


def holds(answers: Sequence[str], text: str) -> bool:
  """Returns whether one of the answers stands in the text, as whole words."""
  return found([rf'(?<!\w){re.escape(a)}(?!\w)' for a in answers], text)


def _words(text: str) -> list[str]:
  return re.findall(r"\w[\w'-]*", text)


def _lines(text: str) -> list[str]:
  return [line for line in text.splitlines() if line.strip()]


def _sentences(text: str) -> int:
  return len(re.findall(r'[.!?]+(?=\s|$|")', text.strip())) or 1


# Of the reply, stripped, and the constraint's `text` or `number`.
KINDS: dict[str, Callable[[str, Any], bool]] = {
  'contains': lambda text, what: holds([what], text),
  'avoids': lambda text, what: not holds([what], text),
  'starts_with': lambda text, what: text.lower().startswith(what.lower()),
  'ends_with': lambda text, what: (
    text.lower().rstrip('.!"').endswith(what.lower().rstrip('.!"'))
  ),
  'matches': lambda text, what: bool(re.search(what, text)),
  'words_at_most': lambda text, n: len(_words(text)) <= n,
  'words_at_least': lambda text, n: len(_words(text)) >= n,
  'sentences': lambda text, n: _sentences(text) == n,
  'lines': lambda text, n: len(_lines(text)) == n,
  'bullets': lambda text, n: (
    sum(bool(re.match(r'\s*([-*\u2022]|\d+[.)])\s', x)) for x in _lines(text))
    == n
  ),
  'lowercase': lambda text, _: text == text.lower(),
  'uppercase': lambda text, _: text == text.upper(),
}
TEXTS = ('contains', 'avoids', 'starts_with', 'ends_with', 'matches')
ALONE = ('lowercase', 'uppercase')


def kept(constraint: Constraint, text: str) -> bool:
  """Returns whether a reply keeps a constraint; an empty one keeps none."""
  kind, reply = constraint['kind'], text.strip()
  what = constraint.get('text', constraint.get('number'))
  return bool(reply) and KINDS[kind](reply, what)


def check_patterns(record: Mapping[str, Any], where: str) -> None:
  """Raises DataError for patterns that are none."""
  for name in ('right', 'wrong'):
    for pattern in record.get(name, ()):
      _check_pattern(pattern, name, where)


def check_constraints(record: Mapping[str, Any], where: str) -> None:
  """Raises DataError for constraints that cannot be checked."""
  given = record['constraints']
  if not isinstance(given, list) or not given:
    raise wrong_type(where, 'constraints', 'a list of {"kind": ...}', given)
  for constraint in given:
    kind = constraint.get('kind') if isinstance(constraint, dict) else None
    if kind not in KINDS:
      raise DataError(
        f'{where}: no kind of constraint {kind!r}. Choose of '
        f'{", ".join(sorted(KINDS))}.'
      )
    name, wanted = ('text', str) if kind in TEXTS else ('number', int)
    if kind not in ALONE and not isinstance(constraint.get(name), wanted):
      what = 'a string' if wanted is str else 'a whole number'
      raise wrong_type(where, f'{kind}.{name}', what, constraint.get(name))
    if kind == 'matches':
      _check_pattern(constraint['text'], 'matches', where)


def _check_pattern(pattern: Any, name: str, where: str) -> None:
  if not isinstance(pattern, str):
    raise wrong_type(where, name, 'a regular expression', pattern)
  try:
    re.compile(pattern)
  except re.error as error:
    raise DataError(
      f'{where}: {name} {pattern!r} is no regular expression ({error}). '
      'Correct it.'
    ) from error
