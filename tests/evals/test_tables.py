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
  lacks = Row('rte', 0, None, 'no data: give rte.jsonl')
  lines = tables.table({'base': [lacks], 'sft': [lacks]}, 'base')
  assert lines == [
    {
      'task': 'rte',
      'shots': 0,
      'missing': 'no data: give rte.jsonl',
      'lacking': ['base', 'sft'],
    }
  ]


def test_what_one_model_cannot_do_is_said_of_that_one():
  rows = {
    'small': [Row('copa', 0, None, 'too long'), Row('copa', 4, None, 'longer')],
    'big': [row(BASE)],
  }
  value, *lacking = tables.table(rows, 'big')
  assert value['models'].keys() == {'big'}
  assert [(x['shots'], x['missing'], x['lacking']) for x in lacking] == [
    (0, 'too long', ['small']),
    (4, 'longer', ['small']),
  ]


def test_a_line_says_which_way_is_better_and_in_what():
  def means(metric):
    [line] = tables.table({'base': [row(BASE, metric)]}, 'base')
    return line['better'], line['unit']

  assert means('accuracy') == means('true_by_gpt/4/qa') == ('higher', 'share')
  assert means('has_listed_word/biased') == ('lower', 'share')
  assert means('entropy/basic') == ('higher', 'bits')
  assert means('male_likelier/basic') == ('none', 'share')
  assert means('bleu') == ('higher', 'hundredths')
  assert means('nats_per_word') == ('lower', 'nats')
  assert means('something') == ('none', '')
