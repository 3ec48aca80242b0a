"""The report: whole, without the sections a run does not have, and safe."""

import base64
import json
import re

import pytest

from instructgpt_jax.runtime import figures, metrics, report


def interval(mean, half=0.02):
  return {'mean': mean, 'low': mean - half, 'high': mean + half, 'n': 512}


REPORT = {
  'config': 'configs/ppo_ptx.py',
  'seconds': {'sft': 61.0, 'ppo': 301.0},
  'params': {'policy': 3482112},
  'reward_accuracy': {'train': 0.801, 'validation': 0.742, 'pairs': 18234},
  'gold_score': {
    'ppo_ptx': interval(0.7),
    'base': interval(0.2),
    'sft': interval(0.5),
  },
  'reward_score': {'sft': interval(0.0), 'ppo_ptx': interval(1.9)},
  'preference': {
    'baseline': 'sft',
    'judges': {'gold score': {'ppo_ptx': {'all': interval(0.712)}}},
  },
  'pretrain_loss': {'base': 2.05, 'sft': 2.09, 'ppo_ptx': 2.07},
  'kl': {'ppo_ptx': interval(12.31)},
  'response_length': {'base': 40.2, 'sft': 25.3, 'ppo_ptx': 21.9},
}


@pytest.fixture
def folder(tmp_path):
  with metrics.Writer(tmp_path / 'sft', tensorboard=False) as w:
    for step in range(1, 5):
      w.write(step, {'loss': 4 - step, 'validation/loss': 5 - step})
  with metrics.Writer(tmp_path / 'ppo', tensorboard=False) as w:
    for step in range(1, 80):
      w.write(step, {'objective/kl': step / 10, 'objective/scores': step})
      if step % 20 == 0:
        w.write(step, {'validation/gold_score': step / 100})
  return tmp_path


def images(html):
  found = re.findall(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
  return [base64.b64decode(x).decode() for x in found]


def test_report_json_is_what_was_given(folder):
  path = report.write_report(folder, REPORT)
  assert path == folder / 'report.html'
  assert json.loads((folder / 'report.json').read_text()) == REPORT


def test_the_page_needs_nothing_else(folder):
  html = report.write_report(folder, REPORT).read_text()
  assert not re.findall(r'(?:src|href)="(?!data:)', html)
  assert '<script' not in html
  assert '@import' not in html
  assert html.count('<div') == html.count('</div>')


def test_the_page_leads_to_that_on_curated_data(tmp_path):
  (tmp_path / 'data').mkdir()
  (tmp_path / 'data' / 'report.html').touch()
  link = 'href="data/report.html"'
  assert link not in report.write_report(tmp_path, {}).read_text()
  found = {'seconds': {'curate': 10.0, 'sft': 61.0}}
  assert link in report.write_report(tmp_path, found).read_text()
  (tmp_path / 'data' / 'report.html').unlink()
  assert link not in report.write_report(tmp_path, found).read_text()


def test_the_page_has_every_section(folder):
  html = report.write_report(folder, REPORT).read_text()
  kl, scores, preferred, sft, ppo = images(html)
  assert 'preferred to sft' in preferred
  assert 'reward score (what PPO sees)' in kl
  assert 'gold score (what it should be)' in kl
  assert 'ppo_ptx' in scores
  assert 'validation' in sft
  assert 'objective/scores' in ppo
  assert html.index('<h3>sft</h3>') < html.index('<h3>ppo</h3>')
  for text in ('71.2%', '0.700 [0.680, 0.720]', '0.50 → 0.70', '74.2%'):
    assert text in html


def test_texts_are_side_by_side_and_escaped(folder):
  samples = [
    {
      'prompt': '<script>alert(1)</script>',
      'responses': {'sft': 'a < b', 'ppo_ptx': ''},
      'scores': {'sft': {'gold': 0.25, 'reward': None}},
    }
  ] * 8
  html = report.write_report(folder, REPORT, samples=samples).read_text()
  assert '<script' not in html
  assert '&lt;script&gt;alert(1)' in html
  assert 'a &lt; b' in html
  assert 'gold 0.250' in html
  assert '(empty)' in html
  assert html.count('class="answers"') == 8
  assert 'more texts' in html


def test_texts_are_read_from_evaluate(folder):
  with metrics.Writer(folder / 'evaluate', tensorboard=False) as w:
    w.write_samples(0, [{'prompt': 'p', 'responses': {'sft': 'unmistakable'}}])
  assert 'unmistakable' in report.write_report(folder, REPORT).read_text()


def test_an_empty_run_still_has_a_report(tmp_path):
  html = report.write_report(tmp_path, {}).read_text()
  assert 'InstructGPT run' in html
  assert images(html) == []
  assert report.terminal_table({}) == ''


def test_real_data_has_no_gold(folder):
  path = folder / 'ppo' / 'metrics.jsonl'
  lines = path.read_text().splitlines(keepends=True)
  path.write_text(''.join(x for x in lines if 'gold_score' not in x))
  told = ('gold_score', 'preference')
  without = {k: v for k, v in REPORT.items() if k not in told}
  html = report.write_report(folder, without).read_text()
  kl = images(html)[0]
  assert 'reward score' in kl
  assert 'gold' not in kl
  assert 'gold score' not in report.terminal_table(without)


def test_terminal_table_is_aligned():
  text = report.terminal_table(REPORT)
  models = text.split('\n\n')[0].splitlines()
  # in the order of training, whatever the order of the keys
  header = ['mean', '[95%', 'interval]', 'base', 'sft', 'ppo_ptx']
  assert models[0].split() == header
  assert models[2].split()[:3] == ['gold', 'score', '0.200']
  assert len({len(line) for line in models}) == 1
  rest = text[text.index('over sft, by gold score') :]
  wins = next(x for x in rest.splitlines() if x.startswith('ppo_ptx'))
  assert wins.split()[:4] == ['ppo_ptx', '71.2%', '[69.2,', '73.2]']
  assert '6 min 02 s' in text  # all stages together
  assert '3,482,112' in text


@pytest.mark.parametrize(
  ('value', 'text'),
  [
    (None, '-'),
    (0.5, '0.500'),
    ({'mean': None}, '-'),
    ({'mean': 0.5}, '0.500'),
    (interval(0.5, 0.1), '0.500 [0.400, 0.600]'),
  ],
)
def test_interval_text(value, text):
  assert report.interval_text(value) == text


def test_own_rows_by_model_are_shown():
  text = report.terminal_table({'politeness': {'sft': 0.5, 'ppo_ptx': 0.75}})
  assert text.splitlines()[2].split() == ['politeness', '0.500', '0.750']


def test_values_meet_the_kl_of_their_time():
  lines = [
    {'step': 1, 'values': {'objective/kl': 1.0, 'objective/scores': 0.1}},
    {'step': 2, 'values': {'objective/kl': 2.0, 'objective/scores': 0.2}},
    {'step': 2, 'values': {'validation/gold_score': 0.5}},
    {'step': 3, 'values': {'objective/kl': 3.0, 'objective/scores': None}},
    {
      'step': 3,
      'values': {'validation/gold_score': 0.4, 'validation/kl': 2.9},
    },
  ]
  assert figures.over_kl(lines, ['gold_score']) == ([2.0, 2.9], [0.5, 0.4])
  assert figures.over_kl(lines, ['objective/scores']) == ([1, 2], [0.1, 0.2])
  assert figures.over_kl(lines, ['nothing']) == ([], [])


def test_curves_leave_out_what_is_not_a_number():
  lines = [
    {'step': 1, 'values': {'a': 1.0, 'b': None}},
    {'step': 2, 'values': {'a': None}},
    {'step': 3, 'values': {'a': 3.0}},
  ]
  assert figures.curves(lines) == {'a': ([1, 3], [1.0, 3.0])}
