"""Labelers at once, at the pages, and a server that is killed among them."""

import pytest
import sqlalchemy as sa

from benchmarks import labeling, labeling_people, labeling_server
from instructgpt_jax.labeling.storage.database import Database
from instructgpt_jax.labeling.storage.models import Answer
from tests.labeling import work

WRONG = (
  *('lost', 'changed', 'doubled', 'never_acknowledged'),
  'handed_out_too_often',
)


@pytest.mark.slow
def test_nothing_is_lost_when_the_server_is_killed_under_load(tmp_path):
  found = labeling.measure(
    tmp_path, labelers=12, seconds=4.0, think=0.2, admin=0.5, kills=2
  )
  assert found['first_faults'] == []
  assert {name: found[name] for name in WRONG} == dict.fromkeys(WRONG, 0)
  assert found['acknowledged'] == found['stored'] > 50
  assert found['while_killed']['sent_again'] > 0 == found['load']['sent_again']
  kinds = found['load']['by_kind']
  assert {'GET /work', 'POST /work/answer', 'POST /api/answer'} <= kinds.keys()
  assert 'admin /admin/agreement' in kinds


def test_what_is_stored_otherwise_than_acknowledged_is_found(tmp_path):
  settings = labeling_server.settle(tmp_path, ['ann'], 3)
  database, notes = Database(settings.database_url), labeling_people.Notes()
  for _ in range(2):
    shown = work.do(database, settings, 1, best=str)
    said = {text: n + 1 for n, text in enumerate(sorted(shown['outputs']))}
    notes.kept['ann', shown['prompt']] = said

  def wrong():
    found = labeling.compare(settings, [notes])
    return {name: found[name] for name in WRONG if found[name]}

  def store(statement):
    with database.engine.begin() as connection:
      connection.execute(statement)

  assert wrong() == {}
  second = list(notes.kept)[1]
  forgotten = notes.kept.pop(second)
  assert wrong() == {'never_acknowledged': 1}
  notes.kept[second] = forgotten
  notes.kept['ann', 'never stored'] = forgotten
  assert wrong() == {'lost': 1}
  del notes.kept['ann', 'never stored']
  otherwise = {'ranks': [1, 1, 1, 1]}
  store(sa.update(Answer).where(Answer.id == 1).values(payload=otherwise))
  assert wrong() == {'changed': 1}
  store(sa.delete(Answer))
  assert wrong() == {'lost': 2}
  database.close()
