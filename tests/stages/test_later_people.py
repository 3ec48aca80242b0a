"""Rounds whose people are those of one application, over HTTP."""

import dataclasses
import threading

from benchmarks import labeling_loop, labeling_server
from instructgpt_jax import simulation
from instructgpt_jax.data import records
from instructgpt_jax.labeling import client
from instructgpt_jax.runtime import run
from instructgpt_jax.stages import asking, labelers, session
from tests.stages import micro

NAMES = [labeler.name for labeler in simulation.LABELERS]


def waiting(folder, prompts, **settings):
  """A session that has offered two replies to each of these prompts."""
  config = micro.get_config()
  config.collect.update(dict(labelers='web', poll=0.05, **settings))
  one = session.Session(config, run.Run(folder), None, None)
  offered = [offer(number) for number in prompts]
  path = one.run.folder('collect') / asking.OFFERED
  records.write_jsonl(path, offered)
  return one


def offer(number):
  row = labeling_loop.row(f'world-{number}')
  replies = [f'Yes {number}.', f'No {number}, never.']
  return {
    **{'id': row['id'], 'source': 'collect', 'user_id': row['user_id']},
    **{'prompt': row['prompt'], 'responses': replies, 'ended': [True, True]},
  }


def test_a_later_round_has_the_people_of_the_first(tmp_path, monkeypatch):
  application = tmp_path / 'application'
  labeling_server.settle(application, NAMES, 0, heldout=NAMES[-1:])
  server = labeling_server.Server(
    application, 'screening_tasks=0', "kinds=('ranking',)", 'overlap_share=0.0'
  )
  server.start()
  monkeypatch.setenv(client.NAME, 'admin')
  monkeypatch.setenv(client.PASSWORD, labeling_server.PASSWORD)
  monkeypatch.setattr(client, 'PART', 500)  # bytes: more than one request
  found = []
  try:
    for k, prompts in enumerate((range(12), range(12, 24))):
      one = waiting(tmp_path / f'{k}', prompts, url=server.url, enough=1.0)
      done = threading.Event()
      path = one.run.folder('collect') / asking.OFFERED
      at_work = threading.Thread(
        target=lambda path=path, done=done: labeling_loop.rank_all(
          *(server.url, path, NAMES), finished=done.is_set, asked=[]
        ),
        daemon=True,
      )
      at_work.start()
      counts = asking.wait(one)
      done.set()
      at_work.join()
      assert 8 <= counts['prompts'] <= counts['offered'] == 12
      found.append(one.run.folder('collect') / 'comparisons.jsonl')
  finally:
    server.stop()
  first, second = (
    [record for record, _ in records.read_records(path, 'comparisons')]
    for path in found
  )
  assert not {r['prompt'] for r in first} & {r['prompt'] for r in second}
  both = {r['labeler'] for r in first} & {r['labeler'] for r in second}
  assert len(both) >= 4
  # One reward model learns from both: those held out stay so.
  joined = session.Session(
    one.config.copy_and_resolve_references(), *[None] * 3
  )
  joined = dataclasses.replace(joined, run=run.Run(tmp_path / 'joined'))
  joined.config.stages = ('reward',)
  joined.config.data.files.comparisons = tuple(map(str, found))
  train, _ = labelers.comparisons(joined, 'train')
  seen = {record['labeler'] for record, _ in train}
  assert seen <= {r['labeler'] for r in first + second if not aside(r)}
  assert len(seen) <= 4


def aside(record):
  return record['labeler_group'] == 'heldout'
