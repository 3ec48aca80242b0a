"""Records: what is read is what was written; what is wrong is named."""

import gzip
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instructgpt_jax.data import records

DEMONSTRATION = {'id': 'a', 'prompt': 'Say hi.\n', 'response': 'hi'}
COMPARISON = {
  'id': 'c',
  'prompt': 'p',
  'responses': ['x', 'y', 'z'],
  'ranks': [2, 1, 2],
}


def write_lines(path, *lines):
  path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')
  return path


@pytest.mark.parametrize('name', ['a.jsonl', 'a.jsonl.gz'])
def test_what_is_written_is_read_back_with_its_place(tmp_path, name):
  made = [DEMONSTRATION | {'id': str(i), 'extra': ['é', i]} for i in range(3)]
  assert records.write_jsonl(tmp_path / name, made) == 3
  found = list(records.read_records(tmp_path / name, 'demonstrations'))
  assert [record for record, _ in found] == made
  assert [where for _, where in found] == [
    f'{tmp_path / name}:{i}' for i in (1, 2, 3)
  ]


def test_several_files_come_in_the_order_given(tmp_path):
  for name in 'ba':
    records.write_jsonl(tmp_path / name, [{'id': name, 'text': name}])
  paths = [tmp_path / 'b', tmp_path / 'a']
  assert [r['id'] for r, _ in records.read_records(paths, 'text')] == ['b', 'a']


def test_blank_lines_are_passed_over_but_counted(tmp_path):
  line = json.dumps({'id': 'a', 'text': 't'})
  path = write_lines(tmp_path / 'a', line, '', line)
  places = [where for _, where in records.read_records(path, 'text')]
  assert places == [f'{path}:1', f'{path}:3']


def test_gz_bytes_depend_on_the_records_alone(tmp_path):
  for name in ('a.gz', 'b.gz'):
    records.write_jsonl(tmp_path / name, [DEMONSTRATION])
  same = [(tmp_path / name).read_bytes() for name in ('a.gz', 'b.gz')]
  assert same[0] == same[1]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
  path = tmp_path / 'a.jsonl'
  records.write_jsonl(path, [DEMONSTRATION])
  before = path.read_text()

  def broken():
    yield DEMONSTRATION
    raise RuntimeError('full disk')

  with pytest.raises(RuntimeError, match='full disk'):
    records.write_jsonl(path, broken())
  assert path.read_text() == before
  assert list(tmp_path.iterdir()) == [path]


def without(record, field):
  return {k: v for k, v in record.items() if k != field}


BROKEN = {
  'no object': ('text', [1], 'expected a JSON object, found list'),
  'no id': ('text', {'text': 't'}, "'id' is missing"),
  'id type': ('text', {'id': 3, 'text': 't'}, "'id' must be a string"),
  'no text': ('text', {'id': 'a'}, "'text' is missing"),
  'empty text': ('text', {'id': 'a', 'text': ''}, "'text' is empty"),
  'empty prompt': ('prompts', {'id': 'a', 'prompt': ''}, "'prompt' is empty"),
  'prompt type': (
    'prompts',
    {'id': 'a', 'prompt': ['x']},
    r"'prompt' must be a string, found \[\"x\"\] \(list\)",
  ),
  'user type': (
    'prompts',
    {'id': 'a', 'prompt': 'p', 'user_id': 7},
    "'user_id' must be a string",
  ),
  'half a surrogate': (
    'prompts',
    {'id': 'a', 'prompt': 'x\ud800'},
    'surrogate pair at 1',
  ),
  'no response': (
    'demonstrations',
    without(DEMONSTRATION, 'response'),
    "'response' is missing",
  ),
  'empty response': (
    'demonstrations',
    DEMONSTRATION | {'response': ''},
    "'response' is empty",
  ),
  'no ranks': (
    'comparisons',
    without(COMPARISON, 'ranks'),
    "'ranks' is missing",
  ),
  'responses type': (
    'comparisons',
    COMPARISON | {'responses': 'xyz'},
    "'responses' must be a list",
  ),
  'one response': (
    'comparisons',
    COMPARISON | {'responses': ['x'], 'ranks': [1]},
    'K = 1 response',
  ),
  'lengths differ': (
    'comparisons',
    COMPARISON | {'ranks': [1, 2]},
    '3 responses but 2 ranks',
  ),
  'empty completion': (
    'comparisons',
    COMPARISON | {'responses': ['x', '', 'z']},
    r"'responses\[1\]' is empty",
  ),
  'rank zero': (
    'comparisons',
    COMPARISON | {'ranks': [0, 1, 2]},
    r"'ranks\[0\]' must be a whole number from 1",
  ),
  'rank float': (
    'comparisons',
    COMPARISON | {'ranks': [1, 1.5, 2]},
    r"'ranks\[1\]' must be a whole number",
  ),
  'rank bool': (
    'comparisons',
    COMPARISON | {'ranks': [1, 2, True]},
    r"'ranks\[2\]' must be a whole number",
  ),
  'ended length': (
    'comparisons',
    COMPARISON | {'ended': [True]},
    "'ended' must be one true/false per response",
  ),
}


@pytest.mark.parametrize('case', BROKEN)
def test_a_broken_record_is_named_with_file_line_and_reason(tmp_path, case):
  kind, record, reason = BROKEN[case]
  good = {'demonstrations': DEMONSTRATION, 'comparisons': COMPARISON}.get(
    kind, {'id': 'g', 'prompt': 'p', 'text': 't'}
  )
  path = write_lines(tmp_path / 'a', json.dumps(good), json.dumps(record))
  found = records.read_records(path, kind)
  assert next(found)[0] == good
  with pytest.raises(records.DataError, match=reason) as error:
    next(found)
  assert str(error.value).startswith(f'{path}:2: ')


def test_broken_json_and_bytes_are_named(tmp_path):
  path = write_lines(tmp_path / 'a', '{"id": "a", "text": "t"')
  with pytest.raises(records.DataError, match=r'a:1: not valid JSON'):
    list(records.read_records(path, 'text'))
  path.write_bytes(b'{"id": "a", "text": "\xff"}\n')
  with pytest.raises(records.DataError, match=r'a:1: not UTF-8 at byte 21'):
    list(records.read_records(path, 'text'))


def test_missing_empty_and_blank_files_are_named(tmp_path):
  with pytest.raises(records.DataError, match='nothere: no such file'):
    records.read_records(tmp_path / 'nothere', 'text')
  empty = tmp_path / 'empty'
  empty.touch()
  with pytest.raises(records.DataError, match='empty: the file is empty'):
    records.read_records(empty, 'text')
  blank = write_lines(tmp_path / 'blank', '', ' ')
  with pytest.raises(records.DataError, match='holds no record'):
    list(records.read_records(blank, 'text'))
  with pytest.raises(records.DataError, match='No files given for text'):
    records.read_records([], 'text')
  with pytest.raises(ValueError, match="Unknown kind 'texts'"):
    records.read_records(blank, 'texts')


def test_a_gz_cut_short_is_an_error_not_a_shorter_file(tmp_path):
  path = tmp_path / 'a.jsonl.gz'
  records.write_jsonl(
    path, ({'id': str(i), 'text': f'{i * i}'} for i in range(2000))
  )
  path.write_bytes(path.read_bytes()[:-200])
  with pytest.raises(records.DataError, match='damaged or cut short'):
    list(records.read_records(path, 'text'))
  plain = write_lines(tmp_path / 'plain.gz', '{"id": "a", "text": "t"}')
  with pytest.raises(records.DataError, match=r'plain.gz:1: cannot be read'):
    list(records.read_records(plain, 'text'))


def test_ranks_may_have_gaps_and_ties_and_other_fields_are_kept():
  record = COMPARISON | {
    'ranks': [7, 1, 7],
    'ended': [True, False, True],
    'labeler': 'ann',
    'note': {'x': 1},
  }
  assert records.validate(record, 'comparisons', 'here') is record


def test_all_tied():
  assert records.all_tied([2, 2, 2])
  assert not records.all_tied([2, 2, 1])


@given(
  prompts=st.lists(st.text('ab', min_size=1, max_size=3), min_size=1),
  share=st.floats(0, 0.99),
)
def test_a_split_is_a_partition_that_keeps_equal_prompts_together(
  prompts, share
):
  rows = [({'id': str(i), 'prompt': p}, i) for i, p in enumerate(prompts)]
  parts = {
    part: list(records.split_records(rows, part, validation=share))
    for part in ('train', 'validation')
  }
  assert sorted(w for part in parts.values() for _, w in part) == [
    w for _, w in rows
  ]
  texts = [{r['prompt'] for r, _ in part} for part in parts.values()]
  assert not texts[0] & texts[1]


def test_a_split_has_its_share_and_grows_without_moving_rows():
  rows = [({'id': str(i), 'prompt': f'p{i}'}, i) for i in range(4000)]
  small = list(records.split_records(rows, 'validation', validation=0.1))
  large = list(records.split_records(rows, 'validation', validation=0.2))
  assert abs(len(small) - 400) < 80  # four standard deviations
  assert {w for _, w in small} < {w for _, w in large}


def test_a_split_by_user_takes_prompt_or_id_where_no_user_is_known():
  def kept(rows):
    located = ((row, i) for i, row in enumerate(rows))
    found = records.split_records(
      located, 'train', validation=0.5, key='user_id'
    )
    return {i for _, i in found}

  ids = [{'id': str(i)} for i in range(200)]
  texts = kept(ids)
  assert 60 < len(texts) < 140  # four standard deviations
  assert kept([row | {'prompt': 'same'} for row in ids]) in (
    set(),
    set(range(200)),
  )
  asked = [{'id': 'x', 'prompt': f'p{i}'} for i in range(200)]
  others = [row | {'id': 'y', 'response': 'r'} for row in asked]
  assert 60 < len(kept(asked)) < 140
  assert kept(asked) == kept(others)  # of whatever kind the records are


def test_a_part_or_share_that_cannot_be_is_an_error():
  rows = [({'id': 'a'}, 0)]
  with pytest.raises(ValueError, match="part is 'train' or 'validation'"):
    next(records.split_records(rows, 'test', validation=0.5))
  with pytest.raises(ValueError, match=r'a share in \[0, 1\)'):
    next(records.split_records(rows, 'train', validation=1))


def test_fingerprints_follow_the_bytes(tmp_path):
  path = write_lines(tmp_path / 'a', 'one')
  before = records.file_fingerprints([path])
  assert list(before) == [str(path)]
  assert re.fullmatch('[0-9a-f]{64}', before[str(path)])
  write_lines(path, 'two')
  assert records.file_fingerprints(path) != before
  with pytest.raises(records.DataError, match='cannot be read'):
    records.file_fingerprints(tmp_path / 'nothere')


# Groups all tied, as the data's README counts them: 11 questions, 40 sums.
TIED = {'fg_longform_qa': 11, 'gsm8k_solutions': 40}


@pytest.mark.data
@pytest.mark.parametrize('kind', records.KINDS)
def test_every_real_record_fits_its_schema(real_data, kind):
  paths = sorted((real_data / kind).glob('*'))
  assert paths
  for path in paths:
    with gzip.open(path) as file:
      lines = sum(1 for _ in file)
    found = [record for record, _ in records.read_records(path, kind)]
    assert len(found) == lines
    if kind == 'comparisons':
      tied = sum(records.all_tied(record['ranks']) for record in found)
      assert tied == TIED.get(path.name.split('.')[0], 0)
