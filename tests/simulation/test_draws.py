"""Draws depend on their key alone and follow their laws."""

import random
import statistics
from collections import Counter

from instructgpt_jax.simulation.draws import Draw


def test_equal_keys_give_equal_streams_and_others_do_not():
  one, two, other = Draw(3, 'a', 1), Draw(3, 'a', 1), Draw(3, 'a', 2)
  first = [one.uniform() for _ in range(5)]
  assert first == [two.uniform() for _ in range(5)]
  assert first != [other.uniform() for _ in range(5)]


def test_the_global_random_state_is_left_alone():
  random.seed(5)
  expected = random.random()
  random.seed(5)
  Draw('x').several(range(9), 4)
  assert random.random() == expected


def test_streams_are_the_same_on_every_machine():
  # Written down once: a change would silently change every world.
  draw = Draw(0, 'golden')
  assert [draw.below(100) for _ in range(6)] == GOLDEN


GOLDEN = [11, 47, 3, 50, 39, 38]


def test_weighted_follows_its_weights():
  draw = Draw('weighted')
  counts = Counter(draw.weighted({'a': 1, 'b': 3, 'c': 0}) for _ in range(8000))
  assert counts['c'] == 0
  assert abs(counts['b'] / 8000 - 0.75) < 0.02


def test_normal_has_mean_0_and_deviation_1():
  draw = Draw('normal')
  sample = [draw.normal() for _ in range(8000)]
  assert abs(statistics.mean(sample)) < 0.04
  assert abs(statistics.pstdev(sample) - 1) < 0.03


def test_several_are_distinct_and_other_avoids_what_is_taken():
  draw = Draw('several')
  for _ in range(200):
    assert len(set(draw.several('abcdef', 4))) == 4
    assert draw.other('abc', 'a', 'c') == 'b'
