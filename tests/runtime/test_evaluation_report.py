"""What evaluation adds to the report: tables, figures, the comparison."""

from instructgpt_jax.runtime import (
  comparison,
  evaluation_figures,
  evaluation_tables,
  report,
)


def interval(mean, half=0.1, n=9):
  return {'mean': mean, 'low': mean - half, 'high': mean + half, 'n': n}


def line(task, metric, base, sft, shots=0):
  return {
    'task': task,
    'shots': shots,
    'metric': metric,
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
    line('real_toxicity_prompts', 'words/basic', 0.2, 0.1),
    line('squad_v2', 'f1', 52.0, 37.0),
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
  assert cells['real_toxicity_prompts words/basic'] == '-0.100 [-0.200, +0.000]'


def test_the_cost_stands_beside_that_of_the_paper():
  (row,) = evaluation_tables.cost(REPORT['compute']).rows
  assert row == ['sft', '1,000', '1', '0.5', '4.9']


def test_there_is_a_figure_for_each_of_the_papers():
  titles = [p.title for p in evaluation_figures.pictures(REPORT)]
  for name in ('1', '3', '4', '5', '6', '7'):
    assert any(f'Figure {name})' in title for title in titles)
  assert any('Table 14' in title for title in titles)
  assert evaluation_figures.pictures({}) == []


def test_f1_in_hundredths_is_drawn_on_the_scale_of_the_others():
  scaled = evaluation_figures._scaled(REPORT['tasks'][2])
  assert scaled['sft']['mean'] == -0.15
  assert evaluation_figures._scaled(REPORT['tasks'][0])['sft']['mean'] == 0.3


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


def test_kl_stands_below_the_policy_and_cost_is_no_model():
  found = {
    'config': 'ppo',
    'kl': 2.5,
    'gold_score': {name: 0.5 for name in ('base_prompted', 'ppo', 'other')},
    'compute': REPORT['compute'] | {'ppo': REPORT['compute']['sft']},
  }
  lines = report._models(found)
  assert lines.header[1:] == ['base_prompted', 'ppo', 'other']
  assert lines.rows[-1][1:] == ['', '2.50', '']
