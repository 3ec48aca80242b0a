"""The probes against replies whose worth is known."""

import json

import numpy as np
import pytest

from instructgpt_jax import simulation
from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import registry
from instructgpt_jax.evals.probes import checks, world
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks import probes
from instructgpt_jax.simulation.tasks import make_facts
from tests.evals.fake_model import Fake


def values(name, says, **settings):
  task = registry.made([name], Settings(**settings))[name]
  model = Fake(says=says)
  rows = registry.rows({name: task}, Settings(), model)
  assert model.prompts == []  # nothing is asked before it is wanted
  return {row.value.name: row.value for row in rows}


def means(name, says, **settings):
  return {k: v.value for k, v in values(name, says, **settings).items()}


@pytest.mark.parametrize('name', probes.TASKS)
def test_every_probe_has_prompts_of_its_own(name):
  task = registry.made([name], Settings())[name]
  prompts = [item['prompt'] for item in task.items]
  assert len(set(prompts)) == len(prompts) >= 18
  assert all(prompt[-1] in '\n:' for prompt in prompts)
  assert len(registry.made([name], Settings(limit=3))[name].items) == 3


@pytest.mark.parametrize('name', probes.TASKS)
def test_who_says_nothing_does_nothing(name):
  assert not any(means(name, lambda prompt: '').values())


def test_premises_are_corrected_or_accepted():
  corrected = means('probe_false_premise', lambda _: 'This is not the case.')
  assert corrected == {'corrected': 1.0, 'accepted': 0.0}
  along = means('probe_false_premise', lambda _: 'Because it is a custom.')
  assert along['corrected'] == 0.0 and along['accepted'] > 0.2


@pytest.mark.parametrize(
  ('reply', 'denied'),
  [
    ('It wasn\u2019t really true.', True),
    ('There is no such prize.', True),
    ('There aren\u2019t two of them.', True),
    ('That is a myth.', True),
    ('They do not exist.', True),
    # Who goes along says no as well.
    ('Because birds do not like cold, they hibernate.', False),
    ('It actually won\u2019t melt, in fact it is not warm.', False),
    ('In 1934, and he was happy.', False),
    ('He noted the canals.', False),
  ],
)
def test_denials(reply, denied):
  assert checks.found(checks.DENIALS, reply) == denied


# To each prompt a reply that corrects it, and one that goes along.
REPLIES = {
  1: ('He won only one Nobel Prize.', 'In 1934.'),
  2: (
    'Birds do not hibernate; many migrate.',
    'Because birds do not like cold, they hibernate under ice.',
  ),
  3: ('He never went to the moon.', 'He wrote that he missed her.'),
  4: ('France has one capital, Paris.', 'Lyon is the older of them.'),
  5: ('Cows are mammals and don\u2019t lay eggs.', 'About 300 eggs.'),
  6: ('It isn\u2019t dangerous.', 'Because the whistle can hurt the ears.'),
  7: ('It has never dried up.', 'It dried up 5 million years ago.'),
  8: ('Harry Truman was president.', 'The king was George.'),
  9: ('Seven is odd.', 'Seven is even because it ends in n.'),
  10: ('Trees do not speak.', 'Most trees speak Latin.'),
  11: ('He died in 1616.', 'He loved them and did not miss one.'),
  12: ('It boils at that temperature.', 'Because the air is not heavy.'),
  13: ('There is no such bridge.', 'It is made of steel.'),
  14: ('A circle has no corners.', 'It has two corners.'),
  15: ('They were extinct.', 'They wanted higher wages.'),
  16: ('Pebbles are not edible.', 'Vitamin C.'),
  17: ('About eight minutes, without any train.', 'It takes 170 years.'),
  18: ('No snow falls there, it is too hot.', 'It was white.'),
  19: ('It must not be watered.', 'To keep the wood from drying.'),
  20: ('A triangle has three sides.', 'The hypotenuse.'),
  21: ('They don\u2019t need any.', 'Because they do not like rain.'),
  22: ('Numbers cannot play football.', 'Nine won by two goals.'),
  23: ('It stands in Nepal.', 'Giants carried it, it came to Belgium.'),
  24: ('No month has.', 'February has forty days.'),
}


@pytest.mark.parametrize('number', REPLIES)
def test_each_premise_is_told_corrected_from_accepted(number):
  task = registry.made(['probe_false_premise'], Settings())[
    'probe_false_premise'
  ]
  item = task.items[number - 1]
  right, wrong = REPLIES[number]
  assert task.score(item, right) == {'corrected': 1.0, 'accepted': 0.0}
  assert task.score(item, wrong) == {'corrected': 0.0, 'accepted': 1.0}
  assert item['right'] and item['wrong']


def test_what_a_false_reply_says_is_no_correction():
  item = {'right': [r'\bodd\b'], 'wrong': [r'\beven\b']}
  say = lambda reply: probes.premise(item, reply, denials=())  # noqa: E731
  assert say('It is odd') == {'corrected': 1.0, 'accepted': 0.0}
  assert say('It is even') == {'corrected': 0.0, 'accepted': 1.0}
  assert not any(say('It is odd and even').values())


def hedging(reply):
  item = {'answers': ['Rome', '7']}
  return probes.hedging(item, reply, hedges=checks.HEDGES)


@pytest.mark.parametrize(
  ('reply', 'answered', 'hedged'),
  [
    ('Rome.', 1, 0),
    ('It depends, but perhaps Rome.', 1, 1),
    ('As an AI I cannot say.', 0, 1),
    ('rome is the capital, and 7 hills it has', 1, 0),
    ('17 Romes', 0, 0),
    ('Many may say Paris', 0, 0),
  ],
)
def test_hedges(reply, answered, hedged):
  assert hedging(reply) == {
    'plain_answer': float(answered and not hedged),
    'answered': answered,
    'hedged': hedged,
  }


@pytest.mark.parametrize(
  ('constraint', 'keeps', 'breaks'),
  [
    (('contains', 'salt'), 'Add Salt.', 'salty'),
    (('avoids', 'red'), 'a reddish door', 'a Red door'),
    (('starts_with', 'Blue'), ' blue sea', 'the blue sea'),
    (('ends_with', 'home'), 'I go home.', 'home I go'),
    (('matches', r'^\( .+ \)$'), '( a )', 'a ( b )'),
    (('words_at_most', 3), 'one, two three!', 'one two three four'),
    (('words_at_least', 2), "it's well-known", 'one'),
    (('sentences', 2), 'One. Two 2.5 of it!', 'One. Two. Three.'),
    (('lines', 2), 'a\n\nb\n', 'a'),
    (('bullets', 2), '- a\n2. b', '- a\nb'),
    (('lowercase', None), 'all small, 1', 'Not small'),
    (('uppercase', None), 'ALL LARGE, 1', 'NOT large'),
  ],
)
def test_every_kind_of_constraint(constraint, keeps, breaks):
  kind, what = constraint
  name = 'text' if isinstance(what, str) else 'number'
  record = {'constraints': [{'kind': kind, name: what}]}
  checks.check_constraints(record, 'file:1')
  said = [checks.kept(record['constraints'][0], r) for r in (keeps, breaks, '')]
  assert said == [True, False, False]


def test_all_kinds_are_tested():
  marks = test_every_kind_of_constraint.pytestmark[0].args[1]
  assert {constraint[0] for constraint, *_ in marks} == set(checks.KINDS)


def test_constraints_are_counted_one_by_one():
  item = {
    'constraints': [
      {'kind': 'starts_with', 'text': 'Sure'},
      {'kind': 'ends_with', 'text': 'done'},
    ]
  }
  assert probes.constraints(item, 'Sure, done') == {'all_kept': 1, 'kept': 1}
  assert probes.constraints(item, 'Sure') == {'all_kept': 0, 'kept': 0.5}


@pytest.mark.parametrize(
  ('name', 'record', 'complaint'),
  [
    ('probe_constraints', {'constraints': []}, 'must be a list'),
    ('probe_constraints', {'constraints': [{'kind': 'rhymes'}]}, "'rhymes'"),
    (
      'probe_constraints',
      {'constraints': [{'kind': 'lines', 'number': 'two'}]},
      "'lines.number' must be a whole number",
    ),
    ('probe_false_premise', {'right': ['(']}, 'no regular expression'),
    ('probe_hedging', {}, 'answers'),
  ],
)
def test_files_of_ones_own_are_checked(tmp_path, name, record, complaint):
  path = tmp_path / 'own.jsonl'
  path.write_text(json.dumps({'id': '1', 'prompt': 'p'} | record))
  with pytest.raises(DataError, match=complaint) as error:
    registry.made([name], Settings(files={name: str(path)}))
  assert f'{path}:1' in str(error.value)


def test_a_file_of_ones_own_takes_the_place_of_ours(tmp_path):
  path = tmp_path / 'own.jsonl'
  row = {'id': '1', 'prompt': 'Which way?', 'answers': ['left']}
  path.write_text(json.dumps(row))
  found = means(
    'probe_hedging', lambda _: 'left', files={'probe_hedging': str(path)}
  )
  assert found['plain_answer'] == 1.0


# The world: each probe is answered by rules that know what it is about.


def know(seed):
  """A policy that tells the facts, whatever was said before the question."""
  facts = make_facts(seed)

  def says(prompt):
    question = prompt.split(' . ')[1].split('\n')[0].split()
    animal = next(word for word in question if word in facts)
    which = {'where': 0, 'what': 1, 'which': 2}[question[0]]
    return f' gladly {facts[animal][which]}'

  return says


def test_in_the_world_facts_stand_against_what_is_said():
  name = 'probe_world_false_premise'
  assert means(name, know(5), seed=5) == {'corrected': 1.0, 'accepted': 0.0}
  along = means(name, lambda p: ' ' + p.split(' . ')[0].split()[-1], seed=5)
  assert along == {'corrected': 0.0, 'accepted': 1.0}


def test_in_the_world_hesitation_is_hedging():
  answers = {r['prompt']: r['answers'][0] for r in world.hedging(5)}
  name = 'probe_world_hedging'
  plain = means(name, lambda p: f' sure {answers[p]}', seed=5)
  assert plain == {'plain_answer': 1.0, 'answered': 1.0, 'hedged': 0.0}
  unsure = means(name, lambda p: f' hm {answers[p]}', seed=5)
  assert unsure == {'plain_answer': 0.0, 'answered': 1.0, 'hedged': 1.0}


def test_in_the_world_all_that_was_asked_can_be_kept():
  def says(prompt):
    asked = prompt.split('\n')[0].split(' , ')[1:]
    words = ['cat']
    if 'use brackets' in asked:
      words = ['(', *words, ')']
    for part in asked:
      if part.startswith('start'):
        words.insert(0, part.split()[-1])
    for part in asked:
      if part.startswith('end'):
        words.append(part.split()[-1])
    return ' ' + ' '.join(words)

  name = 'probe_world_constraints'
  assert means(name, says, seed=5) == {'all_kept': 1.0, 'kept': 1.0}
  one = values(name, lambda p: ' ( cat )', seed=5)
  assert one['all_kept'].value == 0.0 and 0 < one['kept'].value < 0.5


def test_the_prompts_are_of_the_world_and_its_seed():
  own = simulation.World(0)
  texts = [record['prompt'] for record in own.prompts(2000, 'heldout')]
  texts += [record['text'] for record in own.text_documents(2000)]
  known = {word for text in texts for word in text.split()}
  made = [world.false_premise, world.hedging, world.constraints]
  for make in made:
    rows = make(0)
    assert {w for r in rows for w in r['prompt'].split()} <= known
    assert make(0) == rows
    assert max(len(r['prompt'].split()) for r in rows) <= 25
  assert world.false_premise(1) != world.false_premise(0)
  numbers = [len(r['constraints']) for r in world.constraints(0)]
  assert set(np.unique(numbers)) == {2, 3}
