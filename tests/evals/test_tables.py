"""The table of all tasks and models, and its paired differences."""

import numpy as np

from instructgpt_jax.evals import intervals, tables
from instructgpt_jax.evals.metrics import text
from instructgpt_jax.evals.registry import Row
from instructgpt_jax.evals.task import Value, mean_value, share_value

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
  expected = intervals.paired_bounded(TUNED, BASE)
  assert found == expected.as_dict() | {'paired': True}
  assert other['shots'] == 4 and other['differences'] == {}


def test_pairing_narrows_the_interval():
  one, other = TUNED * 20, BASE * 20
  found, paired = tables.difference(
    mean_value('f1', one), mean_value('f1', other)
  )
  apart = np.hypot(
    *(
      np.std(values, ddof=1) / np.sqrt(80) * intervals.Z95
      for values in (one, other)
    )
  )
  assert paired and (found.high - found.low) / 2 < apart


def test_few_items_are_no_certainty():
  both = share_value('accuracy', [1, 1]), share_value('accuracy', [0, 0])
  found, paired = tables.difference(*both)
  assert paired and found.mean == found.high == 1.0
  assert found.low < 0
  more, _ = tables.difference(
    share_value('accuracy', np.ones(20)), share_value('accuracy', np.zeros(20))
  )
  assert 0.5 < more.low < 1 == more.high
  # One item of nats says nothing, so there is no difference in the table.
  rows = {name: [row([x], 'nats_per_word')] for name, x in (('a', 1), ('b', 2))}
  [line] = tables.table(rows, 'a')
  assert line['differences'] == {}


def test_the_bleu_of_two_models_is_paired_by_draws():
  rng = np.random.default_rng(0)
  words = [*'abcdefgh']
  meant = [' '.join(rng.choice(words, 9)) for _ in range(40)]
  # Right or wrong at the same sentences: one slightly better than the other.
  said = [t if i % 2 else ' '.join(words) for i, t in enumerate(meant)]
  better = [meant[0], *said[1:]]
  values = []
  for one in (better, said):
    bleu = text.bleu(one, meant)
    mean, low, high, n = bleu.interval
    values.append(Value('bleu', mean, n, low, high, bleu.single, bleu.redrawn))
  found, paired = tables.difference(*values)
  assert paired and found.low <= found.mean <= found.high
  apart = np.hypot(*(v.high - v.low for v in values))
  assert 0 < found.high - found.low < 0.5 * apart
  # Other sentences: nothing to pair.
  fewer = values[1]._replace(per_item=np.zeros(3), redrawn=np.zeros(0), n=3)
  found, paired = tables.difference(values[0], fewer)
  assert not paired and found.n == 3


def test_a_figure_without_an_error_has_no_interval():
  known = mean_value('perplexity', [3.0, 4.0])
  bare = Value('perplexity', 9.0, 2, np.nan, np.nan, np.zeros(0))
  rows = {
    name: [Row('wikitext', 0, value)]
    for name, value in (('base', known), ('sft', bare))
  }
  [line] = tables.table(rows, 'base')
  assert line['models']['sft'] == {'mean': 9.0, 'n': 2}
  assert line['models']['base'].keys() == {'mean', 'low', 'high', 'n'}
  assert line['differences'] == {}


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
