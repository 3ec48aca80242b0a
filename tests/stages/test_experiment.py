"""The whole run: report, skipping, resuming, meshes and processes."""

import json
import shutil

import jax
import numpy as np
import pytest

from instructgpt_jax.runtime import checkpoint
from tests.launch import scripts
from tests.stages import here, micro

pytestmark = pytest.mark.slow


def params(workdir, stage='ppo', name='params'):
  return checkpoint.load_params(workdir / stage / name)[0]


def assert_same(a, b, **tolerance):
  compare = (
    np.testing.assert_allclose if tolerance else np.testing.assert_array_equal
  )
  assert jax.tree.structure(a) == jax.tree.structure(b)
  jax.tree.map(lambda x, y: compare(x, y, **tolerance), a, b)


def test_the_report_has_what_a_reader_needs(finished):
  report = json.loads((finished / 'report.json').read_text())
  models = {'base', 'sft', 'ppo_ptx'}
  for key in ('gold_score', 'reward_score', 'pretrain_loss', 'response_length'):
    assert set(report[key]) == models
    for interval in report[key].values():
      assert interval['low'] <= interval['mean'] <= interval['high']
  assert report['gold_score']['sft']['n'] == 16
  assert set(report['seconds']) == {
    'pretrain',
    'sft',
    'collect',
    'reward',
    'ppo',
    'evaluate',
  }
  accuracy = report['reward_accuracy']
  assert 0 <= accuracy['validation'] <= 1
  assert accuracy['pairs'] > 0
  judges = report['preference']['judges']
  assert set(judges) == {'gold score', 'gold score, greedy', 'reward model'}
  assert set(judges['gold score']) == {'base', 'ppo_ptx'}
  assert set(report['kl']) == {'ppo_ptx'}
  assert np.isfinite(report['kl']['ppo_ptx']['mean'])
  html = (finished / 'report.html').read_text()
  assert 'src="http' not in html
  assert 'href="http' not in html
  assert 'gold score' in (finished.parent / 'stdout.txt').read_text()


def test_every_stage_leaves_what_the_design_says(finished):
  for stage in ('pretrain', 'sft', 'reward', 'ppo'):
    folder = finished / stage
    assert (folder / 'DONE').exists()
    assert (folder / 'metrics.jsonl').exists()
    assert list((folder / 'tensorboard').iterdir())
    assert list((folder / 'checkpoints').iterdir())
  assert (finished / 'ppo' / 'samples.jsonl').exists()
  assert json.loads((finished / 'config.json').read_text())['seed'] == 0


def test_ppo_logs_the_curves_that_show_a_collapse(finished):
  lines = (finished / 'ppo' / 'metrics.jsonl').read_text().splitlines()
  values = json.loads(lines[-1])['values']
  logged = set().union(*(json.loads(line)['values'] for line in lines))
  assert {
    'objective/kl',
    'objective/kl_k3',
    'objective/kl_coef',
    'objective/entropy',
    'objective/score',
    'objective/score_total',
    'objective/length',
    'objective/perplexity',
    'ppo/loss/policy',
    'ppo/loss/value',
    'ppo/loss/pretrain',
    'ppo/policy/approxkl',
    'ppo/policy/clipfrac',
    'ppo/policy/ratio',
    'ppo/val/var_explained',
    'rollout/logp_gap',
    'lr',
  } <= logged
  assert values


def test_the_sampler_and_the_forward_pass_agree(finished):
  lines = (finished / 'ppo' / 'metrics.jsonl').read_text().splitlines()
  gaps = [
    line['rollout/logp_gap']
    for line in (json.loads(text)['values'] for text in lines)
    if 'rollout/logp_gap' in line
  ]
  assert len(gaps) == 5
  assert max(gaps) < 1e-5


def test_comparisons_have_k_between_the_bounds(finished):
  text = (finished / 'collect' / 'comparisons.jsonl').read_text()
  groups = [json.loads(line) for line in text.splitlines()]
  assert len(groups) > 15
  for group in groups:
    k = len(group['responses'])
    assert 2 <= k <= 5  # three to five, less the empty ones
    assert len(group['ranks']) == len(group['ended']) == k
    assert sorted(set(group['ranks'])) == list(
      range(1, len(set(group['ranks'])) + 1)
    )
    assert all(response.strip() for response in group['responses'])
  assert len({len(g['responses']) for g in groups}) > 1


def test_held_out_prompts_share_no_text_with_training(finished):
  samples = (finished / 'evaluate' / 'samples.jsonl').read_text().splitlines()
  asked = {json.loads(line)['prompt'] for line in samples}
  text = (finished / 'collect' / 'comparisons.jsonl').read_text()
  trained = {json.loads(line)['prompt'] for line in text.splitlines()}
  assert asked and not asked & trained


def test_demonstrations_average_zero_under_the_saved_reward(finished):
  results = json.loads((finished / 'reward' / 'DONE').read_text())['results']
  values = results['values']
  assert abs(values['demonstration_score_before']) > 1e-2
  assert values['demonstration_score'] == pytest.approx(0, abs=1e-5)
  assert params(finished, 'reward')['head']['bias'] != 0


def test_the_policy_its_average_and_the_value_net_are_saved(finished):
  policy, ema = params(finished), params(finished, name='ema')
  value = params(finished, name='value')
  assert jax.tree.structure(policy) == jax.tree.structure(ema)
  assert set(value) == {'head', 'trunk'}
  moved = jax.tree.map(lambda a, b: bool((a != b).any()), policy, ema)
  assert all(jax.tree.leaves(moved))


def test_a_second_call_only_reports(finished, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  done = micro.start(workdir)
  assert done.returncode == 0, done.stderr[-2000:]
  assert done.stdout.count('done before') == 6


def test_a_policy_that_lost_its_files_is_not_left_out(finished, tmp_path):
  workdir = tmp_path / 'run'
  shutil.copytree(finished, workdir)
  shutil.rmtree(workdir / 'evaluate')
  (workdir / 'ppo' / 'ema' / 'metadata.json').unlink()
  with pytest.raises(ValueError, match=r'no trained parameters in .*ema'):
    here.run(micro.get_config(), workdir)


def test_changed_settings_are_named(before_ppo):
  done = micro.start(before_ppo, '--config.reward.optimizer.peak=0.5')
  assert done.returncode == 1
  assert 'reward.optimizer.peak: 0.0005 -> 0.5' in done.stderr
  assert 'Traceback' not in done.stderr


def test_eight_devices_give_what_one_gives(before_ppo, finished):
  done = micro.start(
    before_ppo,
    '--config.mesh.data=2',
    '--config.mesh.fsdp=2',
    '--config.mesh.tensor=2',
    JAX_NUM_CPU_DEVICES='8',
  )
  assert done.returncode == 0, done.stderr[-3000:]
  assert 'mesh data 2 x fsdp 2 x tensor 2' in done.stdout
  assert_same(params(before_ppo), params(finished), atol=2e-4)


def test_two_processes_give_what_one_gives(before_ppo, finished):
  command = micro.command(before_ppo)
  done = scripts.run('local.sh', 2, 1, '--', *command, seconds=300)
  assert done.returncode == 0, done.stderr[-3000:]
  assert_same(params(before_ppo), params(finished), atol=2e-4)


def test_plain_ppo_starts_from_a_finished_run(finished, tmp_path):
  done = micro.start(
    tmp_path / 'ppo',
    f'--config.init.run={finished}',
    "--config.stages=('ppo','evaluate')",
    '--config.name=ppo',
    '--config.ppo.ptx_coef=0.0',
    '--config.ppo.ptx_rows=0',
  )
  assert done.returncode == 0, done.stderr[-3000:]
  report = json.loads((tmp_path / 'ppo' / 'report.json').read_text())
  whole = json.loads((finished / 'report.json').read_text())
  assert report['gold_score']['sft'] == whole['gold_score']['sft']
  assert report['gold_score'].keys() == {'base', 'sft', 'ppo'}


def test_sft_can_choose_its_checkpoint_by_reward(finished, tmp_path):
  done = micro.start(
    tmp_path / 'sft',
    f'--config.init.run={finished}',
    "--config.stages=('sft',)",
    '--config.sft.select=reward',
    '--config.sft.evaluate_every=4',
  )
  assert done.returncode == 0, done.stderr[-3000:]
  lines = (tmp_path / 'sft' / 'sft' / 'metrics.jsonl').read_text().splitlines()
  values = [json.loads(line)['values'] for line in lines]
  judged = [v['validation/reward'] for v in values if 'validation/reward' in v]
  results = json.loads((tmp_path / 'sft' / 'sft' / 'DONE').read_text())
  chosen = results['results']['values']['validation/reward']
  assert len(judged) > 1
  assert chosen == pytest.approx(max(judged), abs=1e-5)
