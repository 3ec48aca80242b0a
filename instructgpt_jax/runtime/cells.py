"""What stands in the tables of the reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Table(NamedTuple):
  """One table: a header, and rows of as many cells."""

  title: str
  header: list[str]
  rows: list[list[str]]


def spoken(name: str) -> str:
  """Returns a key as people read it: ppo_ptx_over_sft -> ppo_ptx over sft."""
  left, over, right = name.partition('_over_')
  return (
    f'{left} over {right.replace("_", " ")}'
    if over
    else (left.replace('_', ' '))
  )


def interval(value: Any) -> Mapping[str, Any] | None:
  """Returns {mean, low, high} of an interval or a number, None of neither."""
  if isinstance(value, Mapping) and value.get('mean') is not None:
    mean = value['mean']
    return {'low': mean, 'high': mean} | dict(value)
  if isinstance(value, (int, float)):
    return {'mean': value, 'low': value, 'high': value}
  return None


def interval_text(value: Any, digits: int = 3) -> str:
  """Returns '0.512 [0.490, 0.534]', a number alone, or '-' for nothing."""
  x = interval(value)
  if x is None:
    return '-'
  mean, low, high = (f'{x[k]:.{digits}f}' for k in ('mean', 'low', 'high'))
  return mean if low == high else f'{mean} [{low}, {high}]'
