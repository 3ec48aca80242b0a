"""Choices by the log-probability per token, and what is asked for them."""

import json

import pytest

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import registry
from instructgpt_jax.evals.task import Settings
from tests.evals.fake_model import Fake


def settings(folder, key, records, **given):
  path = folder / f'{key}.jsonl'
  path.write_text('\n'.join(map(json.dumps, records)))
  return Settings(folders=(str(folder),), **given)


def made(folder, key, records, **given):
  return registry.TASKS[key](settings(folder, key, records, **given))


COPA = {
  'id': 'a',
  'query': 'The man turned on the faucet, therefore',
  'choices': ['the toilet filled.', 'water flowed from the long spout.'],
  'gold': 1,
}


def test_the_choice_is_by_mean_log_probability_per_token(tmp_path):
  # By the sum the first one is likelier: -9 against -12; per word it is not.
  logp = {'filled.': -9.0, 'spout.': -12.0}
  model = Fake(likes=lambda text: logp[text.split()[-1]])
  (value,) = made(tmp_path, 'copa', [COPA]).run(model)
  assert -9 / 3 < -12 / 6
  assert (value.name, value.value, value.n) == ('accuracy', 1.0, 1)
  (value,) = made(tmp_path, 'copa', [{**COPA, 'gold': 0}]).run(model)
  assert value.value == 0.0
  # An interval of one item is wide, and within [0, 1].
  assert value.low == 0.0 and 0.5 < value.high < 1.0


def test_equal_choices_share_the_credit(tmp_path):
  records = [{**COPA, 'gold': gold, 'id': str(gold)} for gold in (0, 1)]
  (value,) = made(tmp_path, 'copa', records).run(Fake())
  assert list(value.per_item) == [0.5, 0.5]


@pytest.mark.parametrize(
  ('key', 'query', 'context'),
  [
    ('copa', 'It rained, so', 'It rained, so'),
    ('boolq', 'Passage: P\nQuestion: q?', 'Passage: P\nQuestion: q?\nAnswer:'),
    ('piqa', 'Question: How?\n', 'Question: How?\nAnswer:'),
    (
      'rte',
      'Passage: P\n\nQuestion: q?',
      'Passage: P\n\nQuestion: q?\n\nAnswer:',
    ),
    (
      'sst',
      'Text: fine',
      'For each snippet of text, label the sentiment of the text as positive '
      'or negative.\n\nText: fine\n\nLabel:',
    ),
  ],
)
def test_what_is_asked(tmp_path, key, query, context):
  record = {'id': '1', 'query': query, 'choices': ['no', 'yes'], 'gold': 0}
  model = Fake()
  list(made(tmp_path, key, [record]).run(model))
  assert model.requests == [(context, ' no'), (context, ' yes')]


def test_examples_have_the_form_of_the_question(tmp_path):
  records = [
    {'id': str(i), 'query': f'Q{i}', 'choices': ['no', 'yes'], 'gold': i % 2}
    for i in range(4)
  ]
  model = Fake()
  task = made(tmp_path, 'boolq', records, shots=3, seed=5)
  list(task.run(model))
  context = model.requests[0][0]
  *shown, asked = context.split('\n\n')
  assert asked == 'Q0\nAnswer:'
  right = {'Q1\nAnswer: yes', 'Q2\nAnswer: no', 'Q3\nAnswer: yes'}
  assert {*shown} == right
  again = made(tmp_path, 'boolq', records, shots=3, seed=5)
  assert again.choices == task.choices
  other = made(tmp_path, 'boolq', records, shots=3, seed=6)
  assert other.choices != task.choices


def test_a_beginning_is_chosen_by_its_ending(tmp_path):
  record = {
    'id': '1',
    'context_options': ['Ann asked Bea but Ann', 'Ann asked Bea but Bea'],
    'continuation': 'was refused.',
    'gold': 0,
  }
  model = Fake(likes=lambda text: -1.0 if 'but Ann was' in text else -2.0)
  (value,) = made(tmp_path, 'winograd_wsc', [record]).run(model)
  assert value.value == 1.0
  assert model.requests == [
    ('Ann asked Bea but Ann', ' was refused.'),
    ('Ann asked Bea but Bea', ' was refused.'),
  ]


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'gold': 2}, 'copa.jsonl:1: gold is 2, of 2 in choices. Count them'),
    ({'choices': []}, 'copa.jsonl:1: choices must be a list of texts'),
    ({'choices': 'ab'}, 'copa.jsonl:1: choices is a str'),
  ],
)
def test_a_record_that_cannot_be_asked_is_named(tmp_path, change, said):
  with pytest.raises(DataError, match=said):
    made(tmp_path, 'copa', [{**COPA, **change}])


def test_the_last_word_must_be_what_would_be_said(tmp_path):
  records = [
    {'id': '1', 'context': 'What about the', 'continuation': 'Scroll'},
    {'id': '2', 'context': 'He replied to', 'continuation': 'Dean'},
  ]
  model = Fake(
    says=lambda context: ' Scroll' if 'What' in context else ' her',
    likes=lambda text: -1.5 if 'Scroll' in text else -4.5,
  )
  accuracy, nats = made(tmp_path, 'lambada', records).run(model)
  assert list(accuracy.per_item) == [1, 0]
  assert list(nats.per_item) == [1.5, 4.5] and nats.value == 3.0


@pytest.mark.parametrize(
  ('said', 'noun', 'same'),
  [
    ('Joan', 'Joan', True),
    ('the girl Joan.', 'Joan', True),  # what was said holds it
    ('delivery truck', 'the red delivery truck', True),  # or it what was said
    ('Jane', 'Joan', False),
    ('', 'Joan', False),
  ],
)
def test_wsc_compares_what_was_said_with_the_noun(tmp_path, said, noun, same):
  record = {'id': '1', 'text': 'T', 'pronoun': 'she', 'noun': noun}
  records = [{**record, 'label': True}, {**record, 'id': '2', 'label': False}]
  model = Fake(says=lambda prompt: f' {said}\nmore')
  (value,) = made(tmp_path, 'wsc', records).run(model)
  assert list(value.per_item) == [same, not same]
  assert model.prompts[0].endswith(
    'Passage: T\n\nQuestion: In the passage above, what does the pronoun '
    '"she" refer to?\n\nAnswer:'
  )


def test_examples_of_wsc_are_those_that_know_the_answer(tmp_path):
  record = {'text': 'T', 'pronoun': 'she'}
  records = [
    {**record, 'id': '1', 'noun': 'wrong', 'label': False},
    {**record, 'id': '2', 'noun': 'right', 'label': True},
    {**record, 'id': '3', 'noun': 'right', 'label': True},
  ]
  model = Fake()
  list(made(tmp_path, 'wsc', records, shots=1).run(model))
  assert all('Answer: right' in p for p in model.prompts)
