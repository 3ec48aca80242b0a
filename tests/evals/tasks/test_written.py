"""Answers in the model's own words: prompts, the cut, what is counted."""

import pytest

from instructgpt_jax.evals.tasks import quac, squad
from tests.evals.fake_model import Fake
from tests.evals.tasks.test_choices import made

NONE = 'Not in background.'


def test_squad_asks_as_the_paper_and_cuts_at_the_newline(tmp_path):
  records = [
    {'id': '1', 'prompt': 'Title: T\n\nQ: q?\n\nA:', 'answers': ['north']},
    {'id': '2', 'prompt': 'Title: U\n\nQ: r?\n\nA:', 'answers': [NONE]},
  ]
  model = Fake(says=lambda prompt: ' the North\n\nQ: and')
  values = {v.name: v for v in made(tmp_path, 'squad_v2', records).run(model)}
  assert model.prompts[0] == f'{squad.INSTRUCTION}\n\n{records[0]["prompt"]}'
  assert list(values['f1'].per_item) == [1, 0]
  assert values['f1_answerable'].value == 1
  assert values['f1_unanswerable'].value == 0
  model = Fake()
  list(made(tmp_path, 'squad_v2', records, shots=1).run(model))
  assert model.prompts[0] == (
    f'{squad.INSTRUCTION}\n\n{records[1]["prompt"]} {NONE}\n\n'
    f'{records[0]["prompt"]}'
  )


@pytest.mark.parametrize(
  ('said', 'golds', 'f1'),
  [
    ('not in the background', [NONE], 1),
    ('Not in background', ['north'], 0),
    ('in the north', [NONE], 0),  # no credit for the word 'in'
    ('in background', ['in background noise'], 2 * 1 * (2 / 3) / (1 + 2 / 3)),
    ('', [NONE], 1),
    ('', ['north'], 0),
    # Accepted answers without a word do not count, unless all are such.
    ('Not in background.', ['The', 'The Who'], 0),
    ('Not in background.', ['The'], 1),
    ('Who', ['The', 'The Who'], 1),
  ],
)
def test_squad_without_an_answer(said, golds, f1):
  values = {v.name: v for v in squad.measured([said], [golds])}
  assert values['f1'].value == pytest.approx(f1)
  abstained = said.rstrip('.').lower() in (
    '',
    'not in background',
    'not in the background',
  )
  assert values['abstained'].value == abstained


def test_drop_counts_by_its_own_rules(tmp_path):
  records = [
    {'id': '1', 'prompt': 'Answer:', 'answers': ['10', '33']},
    {'id': '2', 'prompt': 'Answer:', 'answers': ['12 yards']},
  ]
  model = Fake(says=lambda prompt: ' 33.0 yards')
  f1, exact = made(tmp_path, 'drop', records).run(model)
  # 33.0 is 33; the second has the wrong number.
  assert list(f1.per_item) == [pytest.approx(2 / 3), 0]
  assert list(exact.per_item) == [0, 0]


@pytest.mark.parametrize(
  ('said', 'golds', 'f1'),
  [
    ("I don't know", ['CANNOTANSWER', 'CANNOTANSWER'], 1),
    # Most people answered: who did not does not count.
    ("I don't know.", ['red', 'CANNOTANSWER', 'red car'], 0),
    # Of 'red' and 'red car': 1 without the former, 2/3 without the latter.
    ('red car', ['red', 'CANNOTANSWER', 'red car'], (1 + 2 / 3) / 2),
    # Half did not answer: that is the one answer.
    ("I don't know", ['red', 'CANNOTANSWER'], 1),
    ('red', ['red', 'CANNOTANSWER'], 0),
    # Our files say it in the words of the prompt.
    ('', ['red', "I don't know."], 1),
    ('red', ['the red'], 1),  # one person alone is not left out
  ],
)
def test_quac_goes_by_whether_most_could_answer(said, golds, f1):
  found, abstained = quac.measured([said], [golds])
  assert found.value == pytest.approx(f1)
  assert abstained.value == (said not in {'red', 'red car'})


def test_translation_is_measured_by_bleu(tmp_path):
  records = [
    {'id': '1', 'french': 'Merci beaucoup !', 'english': 'a b c d e f g h'},
    {'id': '2', 'french': 'Oui.', 'english': 'a b c d e f g h'},
  ]
  model = Fake(says=lambda prompt: ' a b c d e f g h\nFrench: Non')
  (value,) = made(tmp_path, 'wmt15_fr_en', records, shots=1).run(model)
  assert value.name == 'bleu' and value.value == pytest.approx(100)
  assert model.prompts[0] == (
    'Translate the following sentences from French into English.\n\n'
    'French: Oui.\nEnglish: a b c d e f g h\n\n'
    'French: Merci beaucoup !\nEnglish:'
  )


@pytest.mark.parametrize('end', ['', '\n\nTL;DR:', '\nTL;DR:', '\nTL;DR: '])
def test_summaries_follow_the_mark(tmp_path, end):
  article = f'An article.{end}'
  records = [{'id': '1', 'prompt': article, 'reference': 'the cat sat'}]
  model = Fake(says=lambda prompt: ' the cat\nand more')
  (value,) = made(tmp_path, 'tldr', records).run(model)
  assert model.prompts == ['An article.\n\nTL;DR:']
  assert value.name == 'rouge_l'
  assert value.value == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))


def test_instructions_may_be_answered_in_several_lines(tmp_path):
  records = [{'id': '1', 'prompt': 'Write.\n\n', 'reference': 'one two'}]
  model = Fake(says=lambda prompt: 'one\ntwo')
  (value,) = made(tmp_path, 'user_instructions', records).run(model)
  assert model.prompts == ['Write.\n\n'] and value.value == 1
