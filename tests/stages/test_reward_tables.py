"""The part of the report on the reward model, after a whole run."""

import json

import pytest

from instructgpt_jax.data import records


@pytest.fixture(scope='module')
def told(finished):
  return json.loads((finished / 'report.json').read_text())['reward_model']


def test_labels_are_those_held_out_of_training(told, finished):
  whole = list(
    records.read_records(
      finished / 'collect' / 'comparisons.jsonl', 'comparisons'
    )
  )
  held_out = [
    record
    for record, _ in records.split_records(whole, 'validation', validation=0.3)
  ]
  pairs = sum(
    a < b
    for record in held_out
    for a in record['ranks']
    for b in record['ranks']
  )
  labels = told['labels']
  assert labels['accuracy']['n'] == pairs > 0
  assert sum(s['n'] for s in labels['by_completions'].values()) == pairs
  names = {r['labeler'] for r in held_out}
  assert set(labels['by_labeler']) <= names
  assert set(labels['by_labelers']) <= {'seen', 'held_out'}


def test_the_model_is_indifferent_to_padding(told):
  found = told['invariance']
  assert found['spread'] > 0
  for change in ('longer', 'left', 'order', 'neighbours'):
    assert found[change]['largest'] < 1e-4


def test_the_best_of_n_scores_higher(told):
  curve = told['best_of_n']
  assert [row['n'] for row in curve] == [1, 2, 4, 8, 16]
  proxies = [row['proxy']['mean'] for row in curve]
  assert proxies == sorted(proxies) and proxies[-1] > proxies[0]
  assert all(row['worth']['n'] == 16 for row in curve)  # prompts


def test_a_set_that_is_not_here_says_so(told):
  assert set(told['sets']) == {'llmbar', 'pandalm_pairs', 'pandalm_kwise'}
  for missing in told['sets'].values():
    assert missing.startswith('no data: give ')
