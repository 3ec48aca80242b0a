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
    {'prompt': {'text': 'P', 'toxicity': 0.1}},
    {'prompt': 'P'},
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
    {'activity_label': 'A', 'ctx': 'He', 'endings': ['x', 'y'], 'label': '1'},
    {'query': 'A: He', 'choices': ['x', 'y'], 'gold': 1},
  ),
  'rte': (
    {'sentence1': 'P.', 'sentence2': 'H.', 'label': 1},
    {
      'query': 'Passage: P.\n\nQuestion: H. Yes or no?',
      'choices': ['yes', 'no'],
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


def test_a_dialogue_of_quac_becomes_its_questions():
  row = {
    'wikipedia_page_title': 'T',
    'context': 'C CANNOTANSWER',
    'questions': ['q?', 'r?'],
    'orig_answers': {'texts': ['CANNOTANSWER', 'x']},
    'answers': {'texts': [['CANNOTANSWER', 'y'], ['x']]},
  }
  first, second = public.SETS['quac'].records(row)
  assert first == {
    'prompt': 'Title: T\n\nBackground: C\n\nQ: q?\n\nA:',
    'answers': ["I don't know.", 'y'],
  }
  assert second == {
    'prompt': f"{first['prompt']} I don't know.\n\nQ: r?\n\nA:",
    'answers': ['x'],
  }


def test_a_task_may_be_fetched_where_that_is_allowed(hub, monkeypatch):
  with pytest.raises(sources.MissingData):
    registry.TASKS['copa'](Settings())
  assert not hub
  task = registry.TASKS['copa'](Settings(online=True))
  assert task.gold == [1] and hub[0][0] == 'aps/super_glue'

  def nothing(name, **given):
    raise ConnectionError('no network')

  monkeypatch.setattr(datasets, 'load_dataset', nothing)
  with pytest.raises(DataError, match=r'cannot be fetched.*copa.jsonl.gz'):
    registry.TASKS['copa'](Settings(online=True))


def test_a_set_that_was_changed_is_named(hub, monkeypatch):
  row = datasets.Dataset.from_list([{'other': 1}])
  monkeypatch.setattr(datasets, 'load_dataset', lambda *_, **__: row)
  with pytest.raises(DataError, match=r'ybisk/piqa:1: no row.*goal'):
    list(public.fetch('piqa'))
