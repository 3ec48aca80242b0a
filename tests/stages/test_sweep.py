"""Sweeps, comparisons and what stages cost."""

import csv
import json

import pytest

from configs.sweeps import kl_coef, ptx_coef
from instructgpt_jax.evals import flops
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.stages import accounting, compare, sweep

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


def finished(folder, coef, gold):
  folder.mkdir()
  x = {'mean': gold, 'low': gold - 0.1, 'high': gold + 0.1, 'n': 5}
  report = {'config': 'ppo_ptx', 'gold_score': {'ppo_ptx': x}, 'kl': 2.5}
  report['tasks'] = [
    {'task': 'copa', 'shots': 0, 'metric': 'accuracy', 'models': {'sft': x}},
    {'task': 'rte', 'shots': 0, 'missing': 'no data'},
  ]
  (folder / 'report.json').write_text(json.dumps(report))
  (folder / 'config.json').write_text(json.dumps({'ppo': {'ptx_coef': coef}}))
  return folder


def test_a_comparison_is_a_page_a_json_and_a_csv(tmp_path):
  runs = [
    finished(tmp_path / 'a', 0.0, 0.5),
    finished(tmp_path / 'b', 4.0, 0.75),
  ]
  compare.write(runs, tmp_path / 'out', x='ppo.ptx_coef')
  found = json.loads((tmp_path / 'out/compare.json').read_text())
  assert found['b']['settings'] == ['ppo.ptx_coef: 0.0 -> 4.0']
  assert found['b']['x'] == 4.0
  with (tmp_path / 'out/compare.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert {
    (r['run'], r['measure'], r['model'], float(r['mean'])) for r in rows
  } == {
    (name, measure, model, mean)
    for name, gold in (('a', 0.5), ('b', 0.75))
    for measure, model, mean in (
      ('gold_score', 'ppo_ptx', gold),
      ('copa accuracy, 0-shot', 'sft', gold),
      ('kl', 'ppo_ptx', 2.5),
    )
  }
  assert (tmp_path / 'out/compare.html').stat().st_size > 1000


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
