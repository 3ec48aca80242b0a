"""Sweeps, comparisons and what stages cost."""

import csv
import json

import pytest

from configs.sweeps import kl_coef, ptx_coef
from instructgpt_jax.evals import flops
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.stages import accounting, compare, sweep
from tests.stages import here, micro

CFG = ModelConfig(vocab_size=50, layers=2, width=8, heads=2)


def test_a_sweep_trains_all_but_ppo_once(tmp_path):
  found = sweep.variants(ptx_coef.get_config('smoke'), str(tmp_path))
  assert next(iter(found)) == 'ptx_coef_0.0' and len(found) == 6
  for value, config in zip(
    ptx_coef.get_config()['values'], found.values(), strict=True
  ):
    assert config.ppo.ptx_coef == value
    assert bool(config.ppo.ptx_rows) == bool(value)
    assert config.stages == ('ppo', 'evaluate')
    assert config.init.run == str(tmp_path / 'shared')


def test_the_sweep_of_kl_reads_no_text():
  found = sweep.variants(kl_coef.get_config(), 'x').values()
  assert {config.ppo.ptx_rows for config in found} == {0}
  assert len({config.ppo.kl_coef for config in found}) == len(found)


@pytest.mark.parametrize(
  'key, values, said',
  [
    ('ppo.beta', (1.0,), 'ppo.beta is no setting'),
    ('ppo.kl_coef', ('much',), "cannot be 'much'"),
    ('ppo.kl_coef', (), 'values is empty'),
  ],
)
def test_a_sweep_of_nothing_is_refused(key, values, said):
  config = kl_coef.get_config()
  with config.ignore_type():
    config.update(dict(key=key, values=values))
  with pytest.raises(ValueError, match=said):
    sweep.variants(config, 'x')


def reported(folder, coef, gold):
  folder.mkdir()
  x = {'mean': gold, 'low': gold - 0.1, 'high': gold + 0.1, 'n': 5}
  report = {'config': 'ppo_ptx', 'gold_score': {'ppo_ptx': x}}
  report['kl'] = {'ppo_ptx': x, 'other': x}
  report['tasks'] = [
    {
      'task': 'copa',
      'shots': 0,
      'metric': 'accuracy',
      'better': 'higher',
      'models': {'sft': x},
      'over': 'base',
      'differences': {'sft': x | {'paired': True}},
    },
    {'task': 'rte', 'shots': 0, 'missing': 'no data'},
  ]
  table = {'all': x, 'length_controlled': x, 'by_user': {'seen': x}}
  report['preference'] = {
    'baseline': 'sft',
    'judges': {'gold score': {'ppo_ptx': table | {'ties': 0.1}}},
  }
  report['gold_parts'] = {'ppo_ptx': {'brevity': x}}
  report['ratings'] = {'ppo_ptx': {'quality': x, 'flags': {'opinion': x}}}
  report['reward_accuracy'] = {'validation': 0.5, 'pairs': 9}
  report['reward_model'] = {
    'labels': {'accuracy': x, 'by_labelers': {'held_out': x}},
    'best_of_n': [{'n': 2, 'kl': 0.2, 'worth': x}],
  }
  (folder / 'report.json').write_text(json.dumps(report))
  (folder / 'config.json').write_text(json.dumps({'ppo': {'ptx_coef': coef}}))
  return folder


MEASURES = {
  *(('gold_score', 'ppo_ptx'), ('kl', 'ppo_ptx'), ('kl', 'other')),
  ('copa accuracy, 0-shot', 'sft'),
  ('copa accuracy, 0-shot, over base', 'sft'),
  ('preferred to sft by gold score', 'ppo_ptx'),
  ('preferred to sft by gold score, length controlled', 'ppo_ptx'),
  ('preferred to sft by gold score, by user, seen', 'ppo_ptx'),
  ('gold parts, brevity', 'ppo_ptx'),
  *(('ratings, quality', 'ppo_ptx'), ('ratings, flags, opinion', 'ppo_ptx')),
  ('reward model: labels, accuracy', 'reward model'),
  ('reward model: labels, by labelers, held out', 'reward model'),
  ('reward model: best of n, n 2, worth', 'reward model'),
}


def test_a_comparison_is_a_page_a_json_and_a_csv(tmp_path):
  runs = [
    reported(tmp_path / 'a', 0.0, 0.5),
    reported(tmp_path / 'b', 4.0, 0.75),
  ]
  compare.write(runs, tmp_path / 'out', x='ppo.ptx_coef')
  found = json.loads((tmp_path / 'out/compare.json').read_text())
  assert found['b']['settings'] == ['ppo.ptx_coef: 0.0 -> 4.0']
  assert found['b']['x'] == 4.0
  assert found['b']['tasks'] == ['copa accuracy, 0-shot']
  with (tmp_path / 'out/compare.csv').open() as file:
    rows = list(csv.DictReader(file))
  accuracy = 'reward model: validation', 'reward model'
  assert {
    (r['run'], r['measure'], r['model'], float(r['mean'])) for r in rows
  } == {
    (name, *of, 0.5 if of == accuracy else gold)
    for name, gold in (('a', 0.5), ('b', 0.75))
    for of in MEASURES | {accuracy}
  }
  assert (tmp_path / 'out/compare.html').stat().st_size > 1000


@pytest.mark.slow
def test_a_sweep_is_run_and_drawn_over_its_values(
  finished, tmp_path, monkeypatch
):
  """PPO and its evaluation for a value; a second call does nothing."""
  config = ptx_coef.get_config()
  config.run = micro.get_config()
  config.run.stages = ('ppo', 'evaluate')
  config.run.init.run = str(finished)
  config.run.ppo.iterations = 1
  config.run.evaluate.update(dict(prompts=8, documents=8, batch_size=8))
  config.run.evaluate.best_of.samples = 0
  config.run.evaluate.tasks = ('probe_world_constraints',)
  config['values'] = (2.0,)
  here.alone(monkeypatch)
  sweep.run(config, str(tmp_path))
  [[name, found]] = json.loads((tmp_path / 'compare.json').read_text()).items()
  assert (name, found['x']) == ('ptx_coef_2.0', 2.0)
  measure = 'probe_world_constraints kept, 0-shot'
  assert measure in found['tasks']
  assert set(found['measures'][measure]) == {'base', 'sft', 'ppo_ptx'}
  assert not (tmp_path / 'shared').exists()  # nothing is trained anew

  began = (tmp_path / name / 'ppo/DONE').stat().st_mtime_ns
  sweep.run(config, str(tmp_path))
  assert (tmp_path / name / 'ppo/DONE').stat().st_mtime_ns == began


def test_a_run_without_a_report_is_named(tmp_path):
  with pytest.raises(ValueError, match=r'report\.json: No such file'):
    compare.write([tmp_path / 'no'], tmp_path)


def stage(name, settings, steps, results=None):
  config = {
    'data': {'row_length': 16, 'prompt_length': 6, 'response_length': 4},
    'lora': {'rank': 0},
    name: settings,
  }
  return accounting.Stage(config, steps, results or {}, lambda _: CFG)


def test_the_cost_of_sft_is_six_flops_per_weight_and_token():
  settings = {'batch_size': 3, 'pretrain_rows': 1}
  cost = accounting._sft(stage('sft', settings, steps=5))
  tokens = 5 * 4 * 16
  assert cost.tokens == tokens
  weights = 2 * 12 * 8**2 + 50 * 8  # of matrices, and the unembedding
  attention = 2 * 4 * 8 * 8  # layers, two products, half of 16, width
  assert cost.flops == 3 * tokens * (2 * weights + attention)


def test_frozen_weights_have_no_gradient():
  whole = stage('sft', {'batch_size': 4, 'pretrain_rows': 0}, steps=1)
  adapters = whole._replace(config=whole.config | {'lora': {'rank': 2}})
  ratio = accounting._sft(adapters).flops / accounting._sft(whole).flops
  assert ratio == pytest.approx(2 / 3)


def test_ppo_writes_scores_four_times_and_learns_two_networks():
  settings = {'batch_size': 8, 'epochs': 1, 'ptx_rows': 0}
  plain = accounting._ppo(stage('ppo', settings, steps=2))
  rows, read = 16, flops.forward(CFG, 16, 10, 5, 16 * 4)
  scored = flops.forward(CFG, rows, 10, 5, 0)
  written = flops.written(CFG, rows, 6, 4)
  assert plain.flops == written + 5 * read + 5 * scored
  assert plain.tokens == rows * 4
  mixed = accounting._ppo(stage('ppo', settings | {'ptx_rows': 2}, steps=2))
  text = 3 * flops.forward(CFG, 32, 16, 8, 32 * 16)
  assert mixed.flops - plain.flops == pytest.approx(text)
  assert mixed.tokens - plain.tokens == 32 * 16


def test_the_unit_is_the_papers():
  assert flops.PETAFLOP_DAY == 8.64e19
  assert accounting.PAPER == {'pretrain': 3640.0, 'sft': 4.9, 'ppo': 60.0}
