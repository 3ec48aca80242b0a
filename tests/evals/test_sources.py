"""Where the data of tasks comes from, and what is said where it is not."""

import gzip
import json

import datasets
import pytest

from instructgpt_jax.data.schema import DataError
from instructgpt_jax.evals import public, registry, sources
from instructgpt_jax.evals.task import Settings
from tests.evals.fake_model import Fake

FIELDS = {'prompt': str, 'answers': list}
RECORDS = [
  {'id': str(i), 'prompt': f'Q{i}', 'answers': [f'A{i}']} for i in range(6)
]


def write(path, records):
  data = '\n'.join(map(json.dumps, records)).encode()
  path.write_bytes(gzip.compress(data) if path.suffix == '.gz' else data)
  return str(path)


def test_a_task_without_data_is_a_row_that_says_what_to_give(tmp_path):
  write(tmp_path / 'drop.jsonl.gz', RECORDS)
  settings = Settings(folders=(str(tmp_path),))
  made = registry.made(['drop', 'quac'], settings)
  *there, absent = registry.rows(made, settings, Fake(says=lambda p: ' A0'))
  assert [row.value.name for row in there] == ['f1', 'exact']
  assert absent.task == 'quac' and absent.value is None
  assert absent.missing == (
    'no data: give quac.jsonl.gz in one of config.evaluate.folders, or set '
    'config.evaluate.online'
  )


def test_a_file_of_its_own_comes_before_folders(tmp_path):
  write(tmp_path / 'drop.jsonl', RECORDS)
  file = write(tmp_path / 'mine.jsonl.gz', RECORDS[:2])
  folder = str(tmp_path)
  of = lambda **given: sources.records(  # noqa: E731
    'drop', FIELDS, Settings(folders=(folder,), **given)
  )
  assert of() == RECORDS
  assert of(files={'drop': file}) == RECORDS[:2]
  assert of(limit=3) == RECORDS[:3]
  with pytest.raises(sources.MissingData):
    of(files={'drop': ''})  # not to be looked for
  with pytest.raises(DataError, match=r'none.jsonl: no such file.*drop'):
    of(files={'drop': f'{folder}/none.jsonl'})


@pytest.mark.parametrize(
  ('line', 'said'),
  [
    ('{"prompt": "Q"}', "drop.jsonl:2: no field 'answers'"),
    ('{"prompt": 1, "answers": ["A"]}', 'drop.jsonl:2: prompt is a int'),
    ('{"prompt": "Q", "answers": []}', 'drop.jsonl:2: answers must be a list'),
    ('{"prompt": "Q", "answers": [1]}', 'drop.jsonl:2: answers must be a list'),
    ('{"prompt": "Q"', 'drop.jsonl:2: not valid JSON'),
    ('["Q"]', 'drop.jsonl:2: expected a JSON object'),
  ],
)
def test_a_bad_record_is_named(tmp_path, line, said):
  path = tmp_path / 'drop.jsonl'
  path.write_text(f'{json.dumps(RECORDS[0])}\n{line}\n')
  with pytest.raises(DataError, match=said):
    sources.records('drop', FIELDS, Settings(folders=(str(tmp_path),)))


def test_shots_are_others_of_the_set_or_of_a_file(tmp_path):
  settings = Settings(shots=3, seed=1)
  drawn = sources.shots('drop', RECORDS, FIELDS, settings)
  for item, shown in zip(RECORDS, drawn, strict=True):
    assert item not in shown
    assert len({one['id'] for one in shown}) == 3
  assert drawn == sources.shots('drop', RECORDS, FIELDS, settings)
  # An item has its draw whatever the limit.
  assert len({str(shown) for shown in drawn}) > 1
  file = write(
    tmp_path / 'train.jsonl', [*RECORDS[:1], {**RECORDS[1], 'id': 'x'}]
  )
  given = Settings(shots=1, shot_files={'drop': file})
  drawn = sources.shots('drop', RECORDS[:1], FIELDS, given)
  assert drawn[0][0]['id'] == 'x'  # never itself
  with pytest.raises(DataError, match='drop: 6 shots of 5 examples'):
    sources.shots('drop', RECORDS, FIELDS, Settings(shots=6))


# A row of each set as it is published, and the record that it becomes.
PUBLISHED = {
  'winogender': (
    {'sentid': 'nurse.someone.1.male.txt', 'sentence': 'S'},
    {
      'occupation': 'nurse',
      'participant': 'someone',
      'answer': 'participant',
      'gender': 'male',
      'sentence': 'S',
    },
  ),
  'real_toxicity_prompts': (
    {'prompt': {'text': 'P', 'toxicity': 0.25}},
    {'prompt': 'P', 'toxicity': 0.25},
  ),
  'squad_v2': (
    {'title': 'T', 'context': 'C', 'question': 'q? ', 'answers': {'text': []}},
    {
      'prompt': 'Title: T\n\nBackground: C\n\nQ: q?\n\nA:',
      'answers': ['Not in background.'],
    },
  ),
  'drop': (
    {
      'passage': 'P',
      'question': 'q?',
      'answer': {'number': '', 'spans': ['a', 'b'], 'date': {}},
      'validated_answers': {
        'number': ['3', ''],
        'spans': [[], []],
        'date': [
          {'day': '', 'month': '', 'year': ''},
          {'day': '', 'month': 'May', 'year': '1924'},
        ],
      },
    },
    {
      'prompt': 'Passage: P\nQuestion: q?\nAnswer:',
      'answers': ['a and b', '3', 'May 1924'],
    },
  ),
  'hellaswag': (
    {
      'activity_label': 'How to row',
      'ctx_a': '[header] How to row [title] Sit. [step] Hold both.',
      'ctx_b': 'then',
      'endings': ['x [substeps] y.', 'z'],
      'label': '1',
    },
    {
      'query': 'How to row: How to row. Sit. Hold both. Then',
      'choices': ['x y.', 'z'],
      'gold': 1,
    },
  ),
  'rte': (
    {'sentence1': 'P.', 'sentence2': 'It rains.', 'label': 1},
    {
      'query': 'Passage: P.\n\nQuestion: From this passage can one '
      'reasonably conclude that It rains?',
      'choices': ['Yes', 'No'],
      'gold': 1,
    },
  ),
  'sst': (
    {'sentence': 'fine ', 'label': 1},
    {'query': 'Text: fine', 'choices': ['negative', 'positive'], 'gold': 1},
  ),
  'wsc': (
    {'text': 'T', 'span1_text': 'Joan', 'span2_text': 'she', 'label': 0},
    {'text': 'T', 'noun': 'Joan', 'pronoun': 'she', 'label': False},
  ),
  'winograd_wsc': (
    {
      'text': 'Ann asked Bea but she was refused.',
      'pronoun': 'she',
      'pronoun_loc': 18,
      'options': ['Ann', 'Bea'],
      'label': 0,
    },
    {
      'context_options': ['Ann asked Bea but Ann', 'Ann asked Bea but Bea'],
      'continuation': 'was refused.',
      'gold': 0,
    },
  ),
  'winogrande': (
    {'sentence': 'So _ left.', 'option1': 'A', 'option2': 'B', 'answer': '2'},
    {
      'context_options': ['So A', 'So B'],
      'continuation': 'left.',
      'gold': 1,
    },
  ),
  'copa': (
    {
      'premise': 'It rained.',
      'choice1': 'The sea was near.',
      'choice2': 'I got wet.',
      'question': 'effect',
      'label': 1,
    },
    {
      'query': 'It rained, therefore',
      'choices': ['the sea was near.', 'i got wet.'],
      'gold': 1,
    },
  ),
  'piqa': (
    {'goal': 'How? ', 'sol1': 'x', 'sol2': 'y', 'label': 0},
    {'query': 'Question: How?\n', 'choices': ['x', 'y'], 'gold': 0},
  ),
  'boolq': (
    {'passage': 'P', 'question': 'is it', 'answer': True},
    {
      'query': 'Passage: P\nQuestion: is it?',
      'choices': ['no', 'yes'],
      'gold': 1,
    },
  ),
  'lambada': (
    {'text': 'a b c'},
    {'context': 'a b', 'continuation': 'c'},
  ),
  'wmt15_fr_en': (
    {'translation': {'fr': 'F', 'en': 'E'}},
    {'french': 'F', 'english': 'E'},
  ),
  'cnn_dm': (
    {'article': 'A', 'highlights': 'H'},
    {'prompt': 'A', 'reference': 'H'},
  ),
  'tldr': (
    {'prompt': 'P\nTL;DR:', 'label': ' L'},
    {'prompt': 'P\nTL;DR:', 'reference': 'L'},
  ),
  'llmbar': (
    {'input': 'I', 'output_1': 'x', 'output_2': 'y', 'label': 2},
    {'prompt': 'I\n\n', 'responses': ['x', 'y'], 'ranks': [2, 1]},
  ),
}


@pytest.fixture
def hub(monkeypatch):
  """A hub that has one row of each set; what it was asked for."""
  asked = []

  def load_dataset(name, **given):
    asked.append((name, given))
    (key,) = (
      key
      for key, known in public.SETS.items()
      if (known.name, known.subset) == (name, given['data_dir'])
    )
    return datasets.Dataset.from_list([PUBLISHED[key][0]])

  monkeypatch.setattr(datasets, 'load_dataset', load_dataset)
  return asked


@pytest.mark.parametrize('key', PUBLISHED)
def test_a_public_set_becomes_records(hub, key):
  ((record, where),) = public.fetch(key)
  assert record == {'id': f'{key}-0-0', **PUBLISHED[key][1]}
  assert where == f'{public.SETS[key].name}:1'
  assert hub[0][1]['split'] == public.SETS[key].split


DIALOGUE = {
  'wikipedia_page_title': 'T',
  'context': 'C CANNOTANSWER',
  'questions': ['q?', 'r?'],
  'orig_answers': {'texts': ['CANNOTANSWER', 'x']},
  'answers': {'texts': [['CANNOTANSWER', 'y'], ['x']]},
}


def test_a_dialogue_of_quac_becomes_its_questions():
  first, second = public.SETS['quac'].records(DIALOGUE)
  assert first == {
    'prompt': 'TITLE: T\n\nPARAGRAPH: C\n\nQ: q?\n\nA:',
    'answers': ["I don't know.", 'y'],
  }
  assert second == {
    'prompt': f"{first['prompt']} I don't know.\n\nQ: r?\n\nA:",
    'answers': ['x'],
  }


def test_questions_of_a_paragraph_follow_those_before_them(hub, monkeypatch):
  row = {'title': 'T', 'context': 'C'}
  rows = [
    {**row, 'question': 'q?', 'answers': {'text': ['x', 'x', 'y']}},
    {**row, 'question': 'r?', 'answers': {'text': []}},
    {**row, 'context': 'D', 'question': 's?', 'answers': {'text': ['z']}},
  ]
  found = datasets.Dataset.from_list(rows)
  monkeypatch.setattr(datasets, 'load_dataset', lambda *_, **__: found)
  first, second, other = (record for record, _ in public.fetch('squad_v2'))
  assert first['answers'] == ['x', 'y']
  assert second['prompt'] == f'{first["prompt"]} x\n\nQ: r?\n\nA:'
  assert second['answers'] == ['Not in background.']
  assert other['prompt'] == 'Title: T\n\nBackground: D\n\nQ: s?\n\nA:'
  assert len({first['id'], second['id'], other['id']}) == 3


def test_examples_tell_nothing_of_the_passage_that_is_asked(tmp_path):
  records = [
    {'id': f'{p}{q}', 'prompt': f'{p}{shown}\n\nQ: b?\n\nA:', 'answers': ['x']}
    for p in 'CDE'
    for q, shown in enumerate(('', '\n\nQ: a?\n\nA: x', '\n\nQ: b?\n\nA: x'))
  ]
  write(tmp_path / 'squad_v2.jsonl', records)
  model = Fake()
  settings = Settings(folders=(str(tmp_path),), shots=4)
  list(registry.TASKS['squad_v2'](settings).run(model))
  for record, prompt in zip(records, model.prompts, strict=True):
    passage, before = record['prompt'][0], prompt[: -len(record['prompt'])]
    assert f'\n\n{passage}\n' not in before
    assert prompt.count('\n\nC') <= 3


def hub_rows(key):
  """A row of the hub as it is published."""
  if key == 'quac':
    return DIALOGUE
  if key in ('truthfulqa', 'crows_pairs'):
    return {
      'question': 'q?',
      'best_answer': 'a',
      'correct_answers': ['a'],
      'incorrect_answers': ['b'],
      'sent_more': 'm',
      'sent_less': 'l',
    }
  row = PUBLISHED[key][0]
  if key == 'winogender':
    return {**row, 'sentid': 'nurse.patient.1.male.txt'}
  return row


# How each set is asked at its end, from a row of the hub: App. D.
ASKED = {
  'truthfulqa': '\n\nQ: q?\nA:| a.',
  'crows_pairs': '|m',
  'winogender': '|S',
  'real_toxicity_prompts': 'P',
  'squad_v2': 'background."\n\nTitle: T\n\nBackground: C\n\nQ: q?\n\nA:',
  'drop': 'paragraph.\n\nPassage: P\nQuestion: q?\nAnswer:',
  'quac': 'know."\n\nTITLE: T\n\nPARAGRAPH: C\n\nQ: q?\n\nA:',
  'hellaswag': (
    'Complete each independent paragraph using common-sense reasoning.\n\n'
    'How to row: How to row. Sit. Hold both. Then| x y.'
  ),
  'rte': (
    'Passage: P.\n\nQuestion: From this passage can one reasonably conclude '
    'that It rains?\n\nAnswer:| Yes'
  ),
  'sst': 'negative.\n\nText: fine\n\nLabel:| negative',
  'wsc': 'the pronoun "she" refer to?\n\nAnswer:',
  'winograd_wsc': 'Ann asked Bea but Ann| was refused.',
  'winogrande': 'So A| left.',
  'copa': 'It rained, therefore| the sea was near.',
  'piqa': 'Question: How?\nAnswer:| x',
  'boolq': 'Passage: P\nQuestion: is it?\nAnswer:| no',
  'lambada': 'a b| c',
  'wmt15_fr_en': 'English.\n\nFrench: F\nEnglish:',
  'cnn_dm': 'A\n\nTL;DR:',
  'tldr': 'P\n\nTL;DR:',
}


@pytest.mark.parametrize('key', sorted(public.SETS.keys() - {'llmbar'}))
def test_a_published_row_is_asked_as_the_paper_asks(monkeypatch, key):
  rows = [hub_rows(key)]
  if key == 'winogender':
    rows.append({**rows[0], 'sentid': 'nurse.patient.1.female.txt'})
  found = datasets.Dataset.from_list(rows)
  monkeypatch.setattr(datasets, 'load_dataset', lambda *_, **__: found)
  model = Fake()
  values = list(registry.TASKS[key](Settings(online=True)).run(model))
  assert values and all(value.n for value in values)
  asked = ['|'.join(request) for request in model.requests] or model.prompts
  assert asked[0].endswith(ASKED[key])
  assert asked[0].count('TL;DR') == ASKED[key].count('TL;DR')


def test_a_task_may_be_fetched_where_that_is_allowed(hub, monkeypatch):
  with pytest.raises(sources.MissingData):
    registry.TASKS['copa'](Settings())
  assert not hub
  task = registry.TASKS['copa'](Settings(online=True))
  assert task.gold == [1] and hub[0][0] == 'aps/super_glue'

  def nothing(name, **given):
    raise ConnectionError('no network')

  monkeypatch.setattr(datasets, 'load_dataset', nothing)
  # The others are asked all the same.
  settings = Settings(online=True)
  made = registry.made(['copa', 'probe_hedging'], settings)
  missing, *there = registry.rows(made, settings, Fake())
  assert missing.value is None and there
  assert missing.missing.startswith('no data: aps/super_glue cannot be fetched')
  assert 'give copa.jsonl.gz' in missing.missing


def test_a_set_that_was_changed_is_named(hub, monkeypatch):
  row = datasets.Dataset.from_list([{'other': 1}])
  monkeypatch.setattr(datasets, 'load_dataset', lambda *_, **__: row)
  with pytest.raises(DataError, match=r'ybisk/piqa:1: no row.*goal'):
    list(public.fetch('piqa'))
