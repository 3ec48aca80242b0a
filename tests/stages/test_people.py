"""A whole run whose completions are ranked over HTTP, killed in between."""

import json
import signal
import subprocess
import time

import pytest

from benchmarks import labeling_loop, labeling_server
from instructgpt_jax import simulation
from tests.stages import micro, web

NAMES = [labeler.name for labeler in simulation.LABELERS]
HELDOUT = ['jun', 'kira']


def started(workdir, log):
  return subprocess.Popen(
    micro.command(workdir, config=web.__file__),
    cwd=micro.ROOT,
    env=micro.environment(),
    stdout=log,
    stderr=subprocess.STDOUT,
  )


@pytest.mark.slow
def test_people_rank_over_http_what_the_sft_model_wrote(tmp_path):
  run, log = tmp_path / 'run', tmp_path / 'log'
  labeling_server.settle(run, NAMES, 0, heldout=HELDOUT)
  offered = run / 'collect' / 'offered.jsonl'
  with log.open('w') as file:
    running = started(run, file)
    while not offered.exists() or 'prompts wait' not in log.read_text():
      assert running.poll() is None, log.read_text()
      time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    written = offered.stat().st_mtime_ns
    overrides = (
      *('screening_tasks=0', 'overlap_share=0.5', 'overlap_copies=2'),
      'heldout_share=0.4',
    )
    server = labeling_server.Server(run, *overrides, "kinds=('ranking',)")
    server.start()
    try:
      running = started(run, file)
      asked = []
      labeling_loop.rank_all(
        *(server.url, offered, NAMES),
        finished=lambda: running.poll() is not None,
        asked=asked,
      )
    finally:
      running.kill()
      server.stop()
  assert running.returncode == 0, log.read_text()
  assert offered.stat().st_mtime_ns == written
  assert {key for task in asked for key in task} == {
    *('lease', 'kind', 'prompt', 'outputs', 'expires'),
  }
  check(run)


def check(run):
  """What people said is what the reward model was trained and tested on."""
  lines = (run / 'collect' / 'comparisons.jsonl').read_bytes().splitlines()
  ranked = [json.loads(line) for line in lines]
  # Of people there is no more than the number of their account.
  (code,) = {record['labeler'].split('-')[1] for record in ranked}
  who = {f'labeler-{code}-{n}': name for n, name in enumerate(NAMES, 1)}
  assert {record['labeler'] for record in ranked} == who.keys()
  aside = {r['labeler'] for r in ranked if r['labeler_group'] == 'heldout'}
  assert {who[name] for name in aside} == set(HELDOUT)
  for record in ranked:
    ended = dict(zip(record['responses'], record['ended'], strict=True))
    expected, _ = simulation.rank(
      labeling_loop.row(record['prompt_id']),
      record['responses'],
      [ended[text] for text in record['responses']],
      labeler=NAMES.index(who[record['labeler']]),
    )
    assert record['ranks'] == expected
  report = json.loads((run / 'report.json').read_text())
  assert report['reward_accuracy']['heldout_pairs'] > 0
