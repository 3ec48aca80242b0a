"""A backup holds everything, and an empty database takes all or nothing."""

import gzip
import json
import stat

import pytest
import sqlalchemy as sa

from instructgpt_jax.labeling.storage import backup, migrate, models
from instructgpt_jax.labeling.storage.database import Database


@pytest.fixture
def empty(url):
  database = Database(url)
  yield database
  database.close()


def fill(session):
  """Adds a row to every table."""
  times = {'created': 1.5}
  session.add(models.Prompt(id=3, key='p', text='é\n', extra={'a': 1}, **times))
  session.add(
    models.Labeler(
      id=5,
      name='ann',
      password='x',
      role='labeler',
      group='train',
      status='active',
      **times,
    )
  )
  session.flush()
  session.add(models.Output(id=7, prompt_id=3, text='one'))
  session.add(
    models.Invitation(
      token_hash='h', role='admin', group='train', expires=2.0, **times
    )
  )
  session.add(
    models.Task(
      id=11,
      key='t',
      kind='ranking',
      prompt_id=3,
      outputs=[7],
      gold={'ranks': [1]},
      open=False,
      **times,
    )
  )
  session.flush()
  who = {'task_id': 11, 'labeler_id': 5}
  session.add(models.Lease(id=2, order=[7], expires=9.0, **who, **times))
  session.flush()
  session.add(
    models.Answer(
      lease_id=2,
      client_key='k',
      payload={'ranks': [1]},
      seconds=0.1,
      **who,
      **times,
    )
  )
  session.add(models.Skip(reason='unclear', **who, **times))
  session.add(models.Flag(kind='violence', output_id=7, **who, **times))
  session.add(models.Audit(at=1.0, labeler_id=5, action='x', detail={}))


def contents(database):
  with database.reading() as session:
    return {
      table.name: [
        tuple(row) for row in session.execute(sa.select(table).order_by('id'))
      ]
      for table in models.Base.metadata.sorted_tables
    }


@pytest.fixture
def saved(database, tmp_path):
  """A backup of a database with a row in every table."""
  database.write(fill)
  path = tmp_path / 'backup.gz'
  counts = backup.backup(database, path)
  assert set(counts) == set(models.Base.metadata.tables)
  assert set(counts.values()) == {1}
  return path


def test_it_comes_back_as_it_was(database, saved, empty, tmp_path):
  migrate.migrate(empty)
  backup.restore(empty, saved)
  assert contents(empty) == contents(database)
  backup.backup(empty, tmp_path / 'again.gz')
  assert (tmp_path / 'again.gz').read_bytes() == saved.read_bytes()


def test_new_rows_come_after_those_that_were_restored(saved, empty):
  backup.restore(empty, saved)
  new = models.Prompt(key='q', text='', created=1.0)
  empty.write(lambda session: session.add(new))
  assert new.id == 4


def test_a_database_with_anything_in_it_is_left_alone(database, saved):
  before = contents(database)
  with pytest.raises(ValueError, match=r'holds \w+ already\. Give another'):
    backup.restore(database, saved)
  assert contents(database) == before


def test_only_the_owner_reads_it(saved):
  assert stat.S_IMODE(saved.stat().st_mode) == 0o600


@pytest.mark.parametrize(
  'change',
  [
    lambda raw: raw[: len(raw) // 2],
    lambda raw: b'',
    lambda raw: b'no gzip',
    lambda raw: gzip.compress(b'{}\n'),
    lambda raw: gzip.compress(b'[1]\n'),
    lambda raw: gzip.compress(b''.join(lines(raw)[:-1])),
    lambda raw: gzip.compress(b''.join([*lines(raw)[:4], lines(raw)[-1]])),
    lambda raw: gzip.compress(gzip.decompress(raw).replace(b'"p"', b'null')),
    lambda raw: gzip.compress(gzip.decompress(raw).replace(b'prompts', b'x')),
  ],
  ids=[
    *('cut', 'empty', 'other', 'no format', 'no object', 'no end'),
    *('rows missing', 'row refused', 'no table'),
  ],
)
def test_a_broken_file_is_refused_and_nothing_is_taken(saved, empty, change):
  saved.write_bytes(change(saved.read_bytes()))
  with pytest.raises(ValueError, match=r'backup\.gz.*(Take another|Give one)'):
    backup.restore(empty, saved)
  assert sa.inspect(empty.engine).get_table_names() == []


def lines(raw):
  return gzip.decompress(raw).splitlines(keepends=True)


def test_a_backup_of_the_first_version_is_taken(saved, empty):
  rows = [json.loads(line) for line in lines(saved.read_bytes())]
  rows[0]['revision'] = '0001'
  for line in rows[1:-1]:
    for later in ('before', *(['group'] if line['table'] == 'tasks' else [])):
      line['row'].pop(later, None)
  rows[-1]['rows'].pop('application')
  old = [line for line in rows if line.get('table') != 'application']
  text = '\n'.join(map(json.dumps, old)).encode()
  saved.write_bytes(gzip.compress(text))
  counts = backup.restore(empty, saved)
  assert counts == {k: v for k, v in rows[-1]['rows'].items() if v}
  with empty.reading() as session:
    assert session.get_one(models.Application, 1).code
    assert session.get_one(models.Task, 11).group is None


def test_a_backup_of_a_newer_program_is_refused(saved, empty):
  text = gzip.decompress(saved.read_bytes())
  head = json.loads(text.splitlines()[0])['revision']
  saved.write_bytes(gzip.compress(text.replace(head.encode(), b'0999')))
  with pytest.raises(ValueError, match=r'0999 were made by a newer program'):
    backup.restore(empty, saved)
