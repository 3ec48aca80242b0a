"""The part of the report on the reward model, after a whole run."""

import collections
import json
import types

import numpy as np
import pytest

from instructgpt_jax.data import records
from instructgpt_jax.runtime.run import Run
from instructgpt_jax.stages import reward_tables
from instructgpt_jax.stages.session import Session
from tests.stages import micro


@pytest.fixture(scope='module')
def told(finished):
  return json.loads((finished / 'report.json').read_text())['reward_model']


def test_labels_are_those_held_out_of_training(told, finished):
  done = json.loads((finished / 'reward/DONE').read_text())['results']['values']
  labels = told['labels']
  assert labels['accuracy']['n'] == done['validation/pairs'] > 0
  assert labels['accuracy']['mean'] == pytest.approx(
    done['validation/accuracy'], abs=1e-6
  )
  pairs = labels['accuracy']['n']
  assert sum(s['n'] for s in labels['by_completions'].values()) == pairs
  known = {
    name.rsplit('/', 1)[1]: value
    for name, value in done.items()
    if name.startswith('validation/accuracy_by_labeler/')
  }
  found = {name: s['mean'] for name, s in labels['by_labeler'].items()}
  assert found == pytest.approx(known, abs=1e-6) and len(known) > 1


class Scored:
  """Scores every response alike."""

  longest = 0
  score_rows = None

  def __call__(self, records):
    return [np.zeros(len(record['responses'])) for record in records]

  def sequences(self, records):
    return []


def test_labelers_held_out_are_not_said_to_be_seen(
  finished, tmp_path, monkeypatch
):
  monkeypatch.setattr(reward_tables.invariance, 'table', lambda *_, **__: {})
  compared = finished / 'collect/comparisons.jsonl'
  every = list(records.read_records(compared, 'comparisons'))
  counts = collections.Counter(record['labeler'] for record, _ in every)
  [(theirs, _)] = counts.most_common(1)
  trained = {
    record['prompt']
    for record, _ in records.split_records(every, 'train', validation=0.3)
    if record['labeler'] != theirs
  }
  # What they alone ranked, whichever split its prompt is of.
  alone = [
    record
    for record, _ in every
    if record['labeler'] == theirs and record['prompt'] not in trained
  ]
  pairs = sum(
    a < b for record in alone for a in record['ranks'] for b in record['ranks']
  )
  config = micro.get_config()
  config.stages = ('reward', 'evaluate')
  config.data.files.comparisons = (str(compared),)
  config.reward.heldout_labelers = (theirs,)
  session = Session(
    config, Run(tmp_path), None, types.SimpleNamespace(pad_id=0)
  )
  found = reward_tables._labels(session, Scored())['labels']
  assert set(found['by_labelers']) == {'seen', 'held_out'}
  assert found['by_labeler'][theirs]['n'] == pairs > 0
  assert found['by_labelers']['held_out']['n'] >= pairs


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
