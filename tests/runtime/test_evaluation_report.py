"""What evaluation adds to the report: tables, figures, the comparison."""

import copy

import pytest

from instructgpt_jax.runtime import (
  comparison,
  evaluation_figures,
  evaluation_tables,
  report,
)


def interval(mean, half=0.1, n=9):
  return {'mean': mean, 'low': mean - half, 'high': mean + half, 'n': n}


def line(task, metric, base, sft, better='higher', unit='share'):
  return {
    'task': task,
    'shots': 0,
    'metric': metric,
    'better': better,
    'unit': unit,
    'models': {'base': interval(base), 'sft': interval(sft)},
    'over': 'base',
    'differences': {'sft': interval(sft - base) | {'paired': True}},
  }


PREFERRED = {
  'all': interval(0.7),
  'length_controlled': interval(0.6),
  'length': {'candidate': 5.0, 'baseline': 4.0},
  'by_user': {'seen': interval(0.6), 'unseen': interval(0.8)},
  'by_use_case': {'Chat': interval(0.7)},
}
REPORT = {
  'config': 'ppo',
  'tasks': [
    line('truthfulqa', 'true_by_overlap/qa', 0.2, 0.5),
    line('real_toxicity_prompts', 'has_listed_word/basic', 0.2, 0.1, 'lower'),
    line('squad_v2', 'f1', 0.52, 0.37),
    line('wmt15_fr_en', 'bleu', 6.5, 3.5, unit='hundredths'),
    line('lambada', 'nats_per_word', 17.5, 16.0, 'lower', 'nats'),
    line('squad_v2', 'abstained', 0.1, 0.7, 'none'),
    {
      'task': 'rte',
      'shots': 0,
      'missing': 'no data: give rte.jsonl.gz',
      'lacking': ['base'],
    },
  ],
  'preference': {'baseline': 'sft', 'judges': {'gold': {'ppo': PREFERRED}}},
  'ratings': {
    'ppo': {
      'quality': interval(4.8),
      'flags': {'hallucination': interval(0.2), 'opinion': None},
    }
  },
  'gold_parts': {'ppo': {'correct': interval(0.5)}},
  'compute': {
    'sft': {
      'tokens': 1000.0,
      'flops': 8.64e19,
      'petaflop_days': 1.0,
      'device_hours': 0.5,
      'paper': 4.9,
    }
  },
}


def test_every_task_is_in_the_tables_and_says_why_it_was_not_asked():
  text = report.terminal_table(REPORT)
  assert 'truthfulqa true_by_overlap/qa' in text
  assert '0.500 [0.400, 0.600]' in text
  assert 'no data: give rte.jsonl.gz' in text
  assert '70.0% [60.0, 80.0]' in text
  assert '5.0 / 4.0' in text


def test_only_a_clear_difference_has_a_star():
  rows = evaluation_tables.differences(REPORT['tasks']).rows
  cells = {row[0]: row[-1] for row in rows}
  assert cells['squad_v2 f1'].endswith(']*')
  assert (
    cells['real_toxicity_prompts has_listed_word/basic']
    == '-0.100 [-0.200, +0.000]'
  )


def test_the_cost_stands_beside_that_of_the_paper():
  (row,) = evaluation_tables.cost(REPORT['compute']).rows
  assert row == ['sft', '1,000', '1', '0.5', '4.9']


def test_there_is_a_figure_for_each_of_the_papers():
  titles = [p.title for p in evaluation_figures.pictures(REPORT)]
  for name in ('1', '3', '4', '5', '6', '7'):
    assert any(f'Figure {name})' in title for title in titles)
  assert any('Table 14' in title for title in titles)
  assert evaluation_figures.pictures({}) == []


def test_a_gain_is_to_the_right_and_on_the_scale_of_its_unit():
  lines = {line['metric']: line for line in REPORT['tasks'] if 'unit' in line}
  gain = lambda metric: evaluation_figures.gains(lines[metric])['sft']  # noqa: E731
  assert gain('f1')['mean'] == pytest.approx(-0.15)
  assert gain('bleu')['mean'] == pytest.approx(-0.03)
  assert gain('nats_per_word')['mean'] == pytest.approx(1.5)
  less = gain('has_listed_word/basic')
  assert less['mean'] == pytest.approx(0.1)
  assert less['low'] == pytest.approx(0) and less['high'] == pytest.approx(0.2)


def test_the_tax_is_drawn_by_unit_and_says_what_is_not_paired(monkeypatch):
  drawn = {}

  def dots(groups, label, **how):
    drawn[label] = [name for name, _ in groups]
    return ''

  monkeypatch.setattr(evaluation_figures, 'dots', dots)
  report = copy.deepcopy(REPORT)
  report['tasks'][3]['differences']['sft']['paired'] = False
  [shares, nats] = evaluation_figures._tax(report)
  assert 'nats' in nats.title and 'shares' in shares.title
  assert drawn == {
    'gain over base, of 1': [
      'truthfulqa true by overlap, qa, 0-shot',
      'real toxicity prompts has listed word, basic (−), 0-shot',
      'squad v2 f1, 0-shot',
      'wmt15 fr en bleu, 0-shot (not paired)',
    ],
    'gain over base, nats': ['lambada nats per word (−), 0-shot'],
  }


def test_the_page_holds_figures_and_tables(tmp_path):
  page = report.write_report(tmp_path, REPORT, samples=[]).read_text()
  assert '<h2>Evaluation</h2>' in page and 'Alignment tax (Table 14)' in page
  assert page.count('data:image/svg') >= 7
  assert (
    '<h2>Evaluation</h2>'
    not in report.write_report(
      tmp_path, {'config': 'x'}, samples=[]
    ).read_text()
  )


def runs():
  return {
    name: {
      'x': x,
      'settings': [f'ppo.ptx_coef: 0 -> {x}'],
      'measures': {'gold_score': {'ppo': interval(x / 10)}},
    }
    for name, x in (('ptx_4', 4.0), ('ptx_0', 0.0))
  }


def test_a_comparison_has_a_column_for_each_run():
  table = comparison.measured(runs())
  assert table.header[1:] == ['ptx_4', 'ptx_0']
  assert table.rows[0][1:] == ['0.400 [0.300, 0.500]', '0.000 [-0.100, 0.100]']
  page = comparison.page(runs(), 'ppo.ptx_coef')
  assert 'ppo.ptx_coef: 0 -&gt; 0.0' in page and 'data:image/svg' in page


def test_a_setting_is_an_axis_of_numbers():
  from matplotlib.figure import Figure  # noqa: PLC0415 - of this test alone

  for values, scale in (((0.0, 0.5, 32.0), 'symlog'), ((2.0, 4.0), 'linear')):
    found = {str(v): {'x': v, 'measures': {'kl': {'ppo': interval(v)}}}
             for v in reversed(values)}  # fmt: skip
    ax = Figure().subplots()
    comparison._draw(ax, found, 'kl', 'ppo.ptx_coef', {'ppo': 'red'})
    assert list(ax.lines[0].get_xdata()) == list(values)
    assert ax.get_xscale() == scale
    assert list(ax.get_xticks()) == list(values)


def test_tasks_are_drawn_where_a_way_is_better():
  found = runs()
  for run in found.values():
    run['measures']['drop f1, 0-shot'] = {'ppo': interval(0.5)}
  plain = comparison.figure(found, 'x')
  for run in found.values():
    run['tasks'] = ['drop f1, 0-shot']
  assert 'drop f1' not in plain
  assert 'drop f1' in comparison.figure(found, 'x')


def test_kl_has_a_column_of_its_own_for_each_and_cost_is_no_model():
  found = {
    'config': 'ppo',
    'kl': {'ppo': interval(2.5, 0.5), 'other': interval(99.0, 1.0)},
    'gold_score': {name: 0.5 for name in ('base_prompted', 'ppo', 'other')},
    'compute': REPORT['compute'] | {'ppo': REPORT['compute']['sft']},
  }
  lines = report._models(found)
  assert lines.header[1:] == ['base_prompted', 'ppo', 'other']
  kl = next(row for row in lines.rows if row[0].startswith('KL'))
  assert kl[1:] == ['-', '2.50 [2.00, 3.00]', '99.00 [98.00, 100.00]']


def test_what_was_left_out_is_said():
  preference = REPORT['preference'] | {
    'left_out': {'gpt2': 'no chat template'},
    'counts': {
      'ppo': {
        'cases': 9,
        'no_verdict': 2,
        'both_orders_agree': 0.75,
        'first_wins': None,
      }
    },
  }
  text = report.terminal_table(REPORT | {'preference': preference})
  assert 'gpt2' in text and 'no chat template' in text
  (row,) = evaluation_tables.orders(preference).rows
  assert row == ['ppo', '9', '2', '75.0%', '-']
