"""SFT: which checkpoint is chosen, and that a kill changes nothing."""

import json
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from instructgpt_jax.runtime import checkpoint, metrics
from tests.stages import here, micro

pytestmark = pytest.mark.slow


def chosen(finished, workdir, select):
  """Returns (validation loss of the chosen params, of every evaluation)."""
  config = micro.get_config()
  config.stages = ('sft',)
  config.init.run = str(finished)
  config.sft.update(dict(select=select, evaluate_every=1, save_every=100))
  # So large a rate that the last checkpoint is not the best one.
  config.sft.optimizer.update(dict(peak=1.0, schedule='constant'))
  here.run(config, workdir)
  done = json.loads((workdir / 'sft' / 'DONE').read_text())
  lines = metrics.read_lines(workdir / 'sft' / 'metrics.jsonl')
  judged = [
    line['values']['validation/loss']
    for line in lines
    if 'validation/loss' in line['values']
  ]
  return done['results']['values']['validation/loss'], judged


def test_the_checkpoint_is_the_one_that_was_asked_for(finished, tmp_path):
  best, judged = chosen(finished, tmp_path / 'best', 'validation_loss')
  last, again = chosen(finished, tmp_path / 'last', 'last')
  assert judged == again  # choosing changes nothing about the training
  assert min(judged) < judged[-1] - 1e-3
  assert best == pytest.approx(min(judged), abs=1e-6)
  assert last == pytest.approx(judged[-1], abs=1e-6)
  params = [
    checkpoint.load_params(tmp_path / name / 'sft' / 'params')[0]
    for name in ('best', 'last')
  ]
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), *params)
  assert any(jax.tree.leaves(moved))


def test_killed_in_sft_it_ends_in_the_same_parameters(finished, tmp_path):
  workdir = tmp_path / 'run'
  for part in ('tokenizer', 'data', 'pretrain'):
    shutil.copytree(finished / part, workdir / part)
  stages = "--config.stages=('pretrain','sft')"
  running = subprocess.Popen(
    micro.command(workdir, stages),
    cwd=micro.ROOT,
    env=micro.environment(),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  try:
    saved = workdir / 'sft' / 'checkpoints' / '2'
    deadline = time.monotonic() + 300
    while not saved.exists() and running.poll() is None:
      assert time.monotonic() < deadline
      time.sleep(0.01)
  finally:
    running.send_signal(signal.SIGKILL)
    running.wait()
  assert not (workdir / 'sft' / 'DONE').exists()
  done = micro.start(workdir, stages)
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'pretrain: done before' in done.stdout
  ours, theirs = (
    checkpoint.load_params(folder / 'sft' / 'params')[0]
    for folder in (workdir, finished)
  )
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)
  first, again = (
    [
      (line['step'], line['values'].get('loss'))
      for line in metrics.read_lines(folder / 'sft' / 'metrics.jsonl')
    ]
    for folder in (finished, workdir)
  )
  assert first == again
