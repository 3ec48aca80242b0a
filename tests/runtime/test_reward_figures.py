"""The reward model in the report, and its absence."""

import re

import pytest

from instructgpt_jax.runtime import report, reward_figures


def share(mean, n=100):
  return {'mean': mean, 'low': mean - 0.05, 'high': mean + 0.05, 'n': n}


FOUND = {
  'labels': {
    'accuracy': share(0.71, 1628),
    'by_completions': {'4': share(0.7), '9': share(0.72)},
    'by_labelers': {'held_out': share(0.69), 'seen': share(0.73)},
    'by_margin': [
      {'predicted': 0.6, 'observed': share(0.58)},
      {'predicted': 0.9, 'observed': share(0.88)},
    ],
  },
  'best_of_n': [
    {'n': n, 'kl': kl, 'proxy': share(kl), 'worth': share(0.5 + kl / 10)}
    for n, kl in ((1, 0.0), (2, 0.19))
  ],
  'sets': {'llmbar': share(0.6, 99), 'pandalm_pairs': 'no data: give a file'},
}


def test_what_agrees_with_people():
  rows = {name: (x, n) for name, x, n in reward_figures.table(FOUND).rows}
  assert rows == {
    'all pairs': ('0.710 [0.660, 0.760]', '1628'),
    '4 completions': ('0.700 [0.650, 0.750]', '100'),
    '9 completions': ('0.720 [0.670, 0.770]', '100'),
    'labelers held out': ('0.690 [0.640, 0.740]', '100'),
    'labelers seen': ('0.730 [0.680, 0.780]', '100'),
    'llmbar': ('0.600 [0.550, 0.650]', '99'),
    'pandalm_pairs': ('no data: give a file', ''),
  }


def test_the_pictures_show_every_point(tmp_path):
  sure, best = reward_figures.pictures(FOUND)
  assert 'chance predicted' in sure.svg
  assert re.findall(r'n = (\d+)', best.svg) == ['1', '2'] * 2
  html = report.write_report(tmp_path, {'reward_model': FOUND}).read_text()
  assert best.title in html and 'labelers held out' in html


@pytest.mark.parametrize('found', [{}, {'sets': {}}])
def test_without_numbers_there_is_nothing(found):
  assert not list(reward_figures.pictures(found))
  assert not reward_figures.table(found).rows
