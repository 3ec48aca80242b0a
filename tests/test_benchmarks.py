"""The benchmarks run, on toys, and say what they promise."""

import json
import types

import jax
import pytest

from benchmarks import (
  compare,
  decode,
  measuring,
  ppo_iteration,
  startup,
  train_step,
  workload,
)
from instructgpt_jax import sharding

TOY = {
  'layers': 1,
  'width': 8,
  'heads': 2,
  'vocab': 64,
  'batch': 8,
  'prompt': 4,
  'response': 8,
  'iters': 2,
  'dtype': 'float32',
  'mesh': [],
  'lengths': 'full',
  'scan': False,
  'remat': 'none',
  'vocab_multiple': 1,
  'halvings': 0,
}
PPO = {
  'ptx': False,
  'minibatches': 1,
  'microbatch': 0,
  'windows': 1,
  'recompute_logp': True,
}


@pytest.fixture(autouse=True)
def _small_machine(monkeypatch):
  monkeypatch.setattr(measuring, 'COPIED', 2**20)
  monkeypatch.setattr(measuring, 'SIDE', {'cpu': 256})
  one = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
  laid = workload.layouts.mesh
  monkeypatch.setattr(
    workload.layouts,
    'mesh',
    lambda settings: laid(settings) if settings.tensor > 1 else one,
  )


def given(**changes):
  return types.SimpleNamespace(**(TOY | changes))


def test_an_iteration_is_timed_whole_and_by_phase():
  found = ppo_iteration.measure(given(**PPO | {'ptx': True}))
  assert set(found['phase_s']) == {
    *('generate', 'score', 'experience', 'update', 'ptx')
  }
  assert found['samples_per_s'] == pytest.approx(
    8 / found['s_per_iter_median'], rel=0.5
  )
  assert found['phases']['update']['gflops'] > 0
  assert found['flags']['ptx'] and json.dumps(found)


def test_what_is_left_out_changes_no_figure_of_an_iteration():
  """Of the stage's own programs: windows, slices, halves, a forward less."""
  less = dict(microbatch=2, windows=2, halvings=1, recompute_logp=False)
  found = []
  for changes in ({}, less):
    run = ppo_iteration.Iteration(
      given(**PPO | changes, lengths='geometric'), False
    )
    with run.session.on_mesh():
      found.append({k: float(m.value()) for k, m in run.whole().items()})
  plain, cut = found
  assert plain.keys() - cut.keys() == {'objective/entropy'}
  for name, value in cut.items():
    assert value == pytest.approx(plain[name], rel=2e-3, abs=1e-5), name
  assert cut['objective/length'] < 6  # of 8: there is something to leave out


def test_geometric_responses_are_a_quarter_of_the_limit_on_average():
  changes = {'batch': 512, 'response': 32, 'iters': 1, 'vocab': 256}
  full = decode.measure(given(**changes))
  assert full['tokens_written'] == 512 * 32
  short = decode.measure(given(**changes, lengths='geometric'))
  # Of a geometric length with mean 8, cut at 32, the mean is 7.9.
  assert short['tokens_written'] / 512 == pytest.approx(7.9, rel=0.12)


def test_of_several_devices_the_work_of_one_is_held_against_its_rates():
  small = dict(iters=1, response=4)
  alone = decode.measure(given(**small))['step']
  mesh = ['data=1', 'fsdp=4', 'tensor=2']
  each = decode.measure(given(**small, mesh=mesh))['step']
  assert each['gflops'] == pytest.approx(alone['gflops'] / 8, rel=0.1)
  # Of weights half, of the cache an eighth.
  assert alone['gigabytes'] / 8 < each['gigabytes'] < alone['gigabytes'] / 2


@pytest.mark.parametrize('stage', ['sft', 'reward'])
def test_updates_are_timed(stage):
  found = train_step.measure(given(stage=stage, completions=3))
  rows = 8 if stage == 'sft' else 24
  tokens = rows * 12 / found['s_per_iter_median']
  assert found['tokens_per_s'] == pytest.approx(tokens, rel=0.01)


def test_an_axis_that_is_none_is_refused():
  with pytest.raises(ValueError, match=r'--mesh: .model=2. is not one of'):
    workload.config(given(mesh=['model=2']))


@pytest.fixture
def says(tmp_path):
  """Returns a function that makes a command which prints this."""

  def make(name, line, status=0):
    script = tmp_path / f'{name}.py'
    script.write_text(f'print({line!r})\nraise SystemExit({status})\n')
    return f'python {script}'

  return make


def test_two_programs_are_compared_in_turns(says, capsys):
  found = compare.compare(
    says('ours', '{"fast": 30}'),
    says('peer', 'a line before\n{"quick": 12}'),
    metric='fast',
    peer_metric='quick',
    rounds=2,
  )
  assert found['ratios'] == [2.5, 2.5] and found['peer'] == [12.0, 12.0]
  turns = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
  assert turns == ['peer', 'ours', 'ours', 'peer']


@pytest.mark.parametrize(
  'line, status, message',
  [
    ('{"fast": 3}', 1, 'ended with status 1'),
    ('no json', 0, 'its last line is no JSON'),
    ('{"slow": 3}', 0, "gives no 'fast'"),
  ],
)
def test_a_program_that_gives_no_figure_is_an_error(
  says, line, status, message
):
  command = says('other', line, status)
  with pytest.raises(ValueError, match=message):
    compare.compare(command, command, metric='fast', peer_metric='', rounds=1)


def test_an_update_that_never_comes_is_an_error(tmp_path):
  with pytest.raises(ValueError, match='no update came'):
    startup.start('configs/ppo_ptx.py:nosuch', str(tmp_path), tmp_path / 'w')
