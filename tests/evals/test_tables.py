"""The table of all tasks and models, and its paired differences."""

import numpy as np
import pytest

from instructgpt_jax.evals import intervals, tables
from instructgpt_jax.evals.registry import Row
from instructgpt_jax.evals.task import Value, mean_value

BASE, TUNED = [0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0]


def row(values, name='accuracy', task='copa', shots=0):
  return Row(task, shots, mean_value(name, values))


def test_a_line_holds_every_model_and_its_difference():
  line, other = tables.table(
    {'base': [row(BASE), row(BASE, shots=4)], 'sft': [row(TUNED)]}, 'base'
  )
  assert (line['task'], line['shots'], line['metric']) == (
    'copa',
    0,
    'accuracy',
  )
  assert [line['models'][m]['mean'] for m in ('base', 'sft')] == [0.5, 0.75]
  found = line['differences']['sft']
  expected = intervals.mean_interval([1.0, 0.0, 0.0, 0.0])
  assert found == expected.as_dict() | {'paired': True}
  assert other['shots'] == 4 and other['differences'] == {}


def test_pairing_narrows_the_interval():
  found, paired = tables.difference(
    mean_value('f1', TUNED), mean_value('f1', BASE)
  )
  apart = np.hypot(
    *(np.std(values, ddof=1) / 2 * intervals.Z95 for values in (TUNED, BASE))
  )
  assert paired and (found.high - found.low) / 2 < apart


def test_the_bleu_of_a_corpus_is_no_mean_and_is_not_paired():
  sentences = np.array([10.0, 20.0])
  one = Value('bleu', 30.0, 2, 26.0, 34.0, sentences)
  other = Value('bleu', 25.0, 2, 22.0, 28.0, sentences)
  found, paired = tables.difference(one, other)
  assert not paired
  assert found == pytest.approx((5.0, 0.0, 10.0, 2))  # 4 and 3: 5


def test_a_task_without_data_stays_in_the_table():
  lines = tables.table(
    {'base': [Row('rte', 0, None, 'no data: give rte.jsonl')]}, 'base'
  )
  assert lines == [
    {'task': 'rte', 'shots': 0, 'missing': 'no data: give rte.jsonl'}
  ]
