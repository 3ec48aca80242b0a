"""People at work in a real browser, on a desk and on a phone."""

import json

import pytest

from instructgpt_jax.labeling import payloads
from instructgpt_jax.labeling.storage.models import (
  Answer,
  Flag,
  Labeler,
  Lease,
  Skip,
)
from instructgpt_jax.labeling.web.app import create_app
from tests.labeling import browser
from tests.labeling.browser import save

PROMPT = 'Name a river.'
OUTPUTS = ['The Rhine.', 'A river.', 'The Danube, of 2,850 km.']
MODELS = ['secret-sft', 'secret-ppo', 'secret-base']
# Each would run, were it taken for markup.
EVIL = (
  '<script>alert(1)</script><img src=x onerror=alert(2)>'
  '"\'><svg onload=alert(3)>{{ 7 * 7 }}</div></textarea><b>'
)


@pytest.fixture
def app(make_settings, database):
  """An application with a short test, where every task is for anybody."""
  return create_app(
    make_settings(screening_tasks=1, gold_share=0.0, overlap_share=0.0)
  )


def ranking(site, texts=OUTPUTS):
  models = [MODELS[n % len(MODELS)] for n in range(len(texts))]
  site.add(prompt=PROMPT, responses=texts, models=models, kind='ranking')


def ranks(site):
  """Returns {output: rank} of the one answer there is."""
  (answer,), (lease,) = site.rows(Answer), site.rows(Lease)
  return dict(zip(lease.order, answer.payload['ranks'], strict=True))


def letter_order(site):
  (lease,) = site.rows(Lease)
  return lease.order


def test_ranking_with_a_tie_by_dragging(site, size):
  ranking(site)
  page = site.open(size, 'ann', '/work')
  for n, tier in enumerate((1, 3, 1)):
    browser.drag(page, f'.chip[data-drag="{n}"]', f'.tier[data-rank="{tier}"]')
  assert page.locator('.tier[data-rank="1"] .chip').all_inner_texts() == [
    'A',
    'C',
  ]
  assert 'tied with A' in page.locator('[data-said]').inner_text()
  save(page)
  shown = letter_order(site)
  # Without the gap that was left.
  assert ranks(site) == {shown[0]: 1, shown[1]: 2, shown[2]: 1}


def test_ranking_with_a_tie_by_the_keyboard_alone(site, size):
  ranking(site)
  page = site.open(size, 'ann', '/work')
  browser.tab_to(page, 'rank-0')
  page.keyboard.press('Space')
  page.keyboard.press('ArrowRight')
  page.keyboard.press('Tab')
  page.keyboard.press('1')
  page.keyboard.press('Tab')
  page.keyboard.press('2')
  board = page.locator('.tier[data-rank="2"] .chip')
  assert board.all_inner_texts() == ['A', 'C']
  browser.tab_to(page, 'Save and go on')
  page.keyboard.press('Enter')
  page.wait_for_url('**/work?did=saved')
  shown = letter_order(site)
  assert ranks(site) == {shown[0]: 2, shown[1]: 1, shown[2]: 2}


def test_nine_outputs_are_ranked_by_dragging(site, size):
  ranking(site, [f'River {n}.' for n in range(9)])
  page = site.open(size, 'ann', '/work')
  wanted = [5, 1, 9, 1, 3, 3, 7, 2, 9]
  for n, tier in enumerate(wanted):
    chip = f'.chip[data-drag="{n}"]'
    # All rows are on the screen at once.
    page.locator('.tiers').evaluate("e => e.scrollIntoView({block: 'center'})")
    browser.drag(page, chip, f'.tier[data-rank="{tier}"]')
    row = page.locator(f'.tier[data-rank="{tier}"]')
    assert 'ABCDEFGHI'[n] in row.locator('.chip').all_inner_texts()
  save(page)
  used = sorted(set(wanted))
  found = ranks(site)
  assert [found[output] for output in letter_order(site)] == [
    used.index(rank) + 1 for rank in wanted
  ]


def test_ranking_without_scripts(site):
  ranking(site)
  page = site.open('desktop', 'ann', '/work', java_script_enabled=False)
  for n, rank in enumerate((2, 1, 3)):
    page.locator(f'[name="rank-{n}"][value="{rank}"]').check(force=True)
  save(page)
  assert sorted(ranks(site).values()) == [1, 2, 3]


def test_names_of_models_never_reach_a_labeler(site):
  ranking(site)
  page = site.open('desktop', 'ann', '/work')
  assert all(text in page.content() for text in OUTPUTS)
  assert 'secret' not in page.content()


def test_a_demonstration_outlives_a_reload_and_is_saved_once(site, size):
  site.add(prompt=PROMPT, kind='demonstration')
  page = site.open(size, 'ann', '/work')
  page.get_by_label('Your reply').fill('The Rhine.\nIt is long.')
  page.reload()
  reply = page.get_by_label('Your reply')
  assert reply.input_value() == 'The Rhine.\nIt is long.'
  fields = page.evaluate(
    "Object.fromEntries(new FormData(document.querySelector('#answer')))"
  )
  save(page)
  # The same form once more, as from a second click or another window.
  again = page.request.post('/work/answer', form=fields)
  assert again.ok
  (answer,) = site.rows(Answer)
  assert answer.payload == {'response': 'The Rhine.\nIt is long.'}
  assert 0 < answer.seconds < 60


def test_a_rating_with_flags(site, size):
  site.add(prompt=PROMPT, response=OUTPUTS[1], kind='rating')
  page = site.open(size, 'ann', '/work')
  page.get_by_role('radio', name='6').check(force=True)
  page.get_by_role('radio', name='Not satisfied').check(force=True)
  page.get_by_label('Expresses an opinion').check()
  save(page)
  (answer,) = site.rows(Answer)
  wanted = dict.fromkeys(payloads.FLAGS, False) | {'opinion': True}
  assert answer.payload == {'quality': 6, 'flags': wanted}


def test_a_comparison_of_two(site, size):
  site.add(prompt=PROMPT, responses=OUTPUTS[:2], kind='comparison')
  page = site.open(size, 'ann', '/work')
  page.get_by_role('radio', name='B is better').check(force=True)
  save(page)
  assert ranks(site)[letter_order(site)[1]] == 1


def test_a_task_is_flagged_and_skipped(site, size):
  ranking(site)
  page = site.open(size, 'ann', '/work')
  page.locator('[name="rank-0"][value="3"]').check(force=True)
  page.get_by_text('Flag sensitive content').click()
  page.get_by_label('Where is it?').select_option(label='In output B')
  page.get_by_label('What is it?').select_option('personal')
  page.get_by_role('button', name='Flag it').click()
  page.wait_for_url('**/work?did=flagged')
  assert page.locator('[name="rank-0"][value="3"]').is_checked()
  page.get_by_text('Skip this task').click()
  page.get_by_label('I do not understand the prompt').check()
  page.get_by_role('button', name='Skip it').click()
  page.get_by_role('heading', name='Nothing to do now').wait_for()
  assert [flag.output_id for flag in site.rows(Flag)] == [letter_order(site)[1]]
  assert [skip.reason for skip in site.rows(Skip)] == [
    'I do not understand the prompt'
  ]


def test_the_screening_test_admits_who_agrees(site):
  site.add(
    'screening', prompt=PROMPT, responses=OUTPUTS, ranks=[2, 3, 1], id='s'
  )
  ranking(site)
  page = site.open('desktop', 'ann', '/work', account={'status': 'screening'})
  assert 'Screening test, task 1 of 1' in page.inner_text('main')
  for n, text in enumerate(page.locator('.output .text').all_inner_texts()):
    rank = [2, 3, 1][OUTPUTS.index(text)]
    page.locator(f'[name="rank-{n}"][value="{rank}"]').check(force=True)
  save(page)
  assert 'You have passed' in page.inner_text('main')
  assert site.rows(Labeler)[0].status == 'active'


def test_from_an_import_to_the_export_with_texts_that_stay_texts(
  site, size, tmp_path
):
  texts = [EVIL, f'other {EVIL}']
  record = {
    'id': EVIL,
    'prompt': EVIL,
    'responses': texts,
    'models': [EVIL] * 2,
  }
  file = tmp_path / 'records.jsonl'
  file.write_text(json.dumps(record) + '\n')
  admin = site.open(size, 'root', '/admin/prompts', account={'role': 'admin'})
  admin.get_by_label('File').set_input_files(file)
  admin.locator('[name=kinds][value=rating]').uncheck(force=True)
  admin.get_by_role('button', name='Import').click()
  assert '1 new prompts, 2 outputs, 1 tasks' in admin.inner_text('main')
  assert EVIL in admin.locator('tbody a').inner_text()

  admin.goto('/admin/labelers')
  admin.get_by_label('Group').select_option('heldout')
  admin.get_by_role('button', name='Make a link').click()
  link = admin.get_by_label('Invitation link').input_value()
  page = site.open(size, place=link)
  page.get_by_label('Name').fill('bea')
  page.get_by_label('Password', exact=True).fill('a long password')
  page.get_by_label('The same password again').fill('a long password')
  page.get_by_role('button', name='Join').click()
  page.get_by_role('heading', name='Rank the outputs').wait_for()
  assert page.locator('.prompt .text').inner_text() == EVIL
  assert sorted(page.locator('.output .text').all_inner_texts()) == texts
  for n in range(2):
    page.locator(f'[name="rank-{n}"][value="1"]').check(force=True)
  save(page)

  for place in ('/admin/prompts/1', '/admin/audit', '/admin/agreement'):
    admin.goto(place)
  admin.goto('/admin/export')
  with admin.expect_download() as download:
    admin.get_by_role('link', name='Download comparisons').click()
  (line,) = download.value.path().read_text().splitlines()
  found = json.loads(line)
  assert (found['prompt'], found['responses']) == (EVIL, texts)
  assert found['ranks'] == [1, 1] and found['labeler_id'].endswith('-2')


def evil_task(kind):
  """Returns a record that is as evil as one of its kind can be."""
  count = {'rating': 1, 'comparison': 2, 'ranking': 3}.get(kind, 0)
  texts = [f'{n} {EVIL}' for n in range(count)]
  return {
    **{'prompt': f'{kind} {EVIL}', 'kind': kind, 'responses': texts},
    'models': [f'm{n} {EVIL}' for n in range(count)],
  }


def fill_in(page, kind):
  """Answers a task of a kind in its form."""
  if kind == 'demonstration':
    page.get_by_label('Your reply').fill(EVIL)
  elif kind == 'rating':
    page.get_by_role('radio', name='2').check(force=True)
    page.get_by_role('radio', name='None stated').check(force=True)
  elif kind == 'comparison':
    page.get_by_role('radio', name='A is better').check(force=True)
  else:
    for n in range(page.locator('.ranks').count()):
      page.locator(f'[name="rank-{n}"][value="1"]').check(force=True)


def test_what_anybody_writes_stays_text_on_every_page(site):
  kinds = ('ranking', 'comparison', 'rating', 'demonstration')
  site.add('screening', prompt=EVIL, responses=[EVIL, 'b'], ranks=[1, 1])
  for kind in kinds:
    site.add(**evil_task(kind))
  page = site.open('desktop', 'ann', '/work')
  for kind in kinds:
    shown = page.locator('.prompt .text').inner_text()
    assert shown == f'{kind} {EVIL}'
    if kind == 'ranking':
      page.get_by_text('Flag sensitive content').click()
      page.get_by_label('Note', exact=True).fill(EVIL)
      page.get_by_role('button', name='Flag it').click()
      page.wait_for_url('**/work?did=flagged')
    if kind != 'demonstration':
      fill_in(page, kind)
      save(page)
  fill_in(page, 'demonstration')
  page.reload()  # the draft comes back
  save(page)
  site.add(prompt=f'other {EVIL}', kind='demonstration')
  skipper = site.open('desktop', 'bob', '/work')
  skipper.get_by_text('Skip this task').click()
  skipper.get_by_label('Something else').check()
  skipper.get_by_label('More, if you like').fill(EVIL)
  skipper.get_by_role('button', name='Skip it').click()
  admin = site.open('desktop', 'root', account={'role': 'admin'})
  admin.goto('/admin/labelers')
  admin.get_by_label('Note for yourself').fill(EVIL)
  admin.get_by_role('button', name='Make a link').click()
  assert EVIL in admin.inner_text('main')
  admin.goto('/admin/results')
  assert all(f'm{n} {EVIL}' in admin.inner_text('main') for n in range(3))
  for number in range(1, 7):
    admin.goto(f'/admin/prompts/{number}')
    assert EVIL in admin.inner_text('main')
  said = read(admin, '/admin/prompts/6')
  assert f'skipped it: Something else: {EVIL}' in said
  assert f'({EVIL})' in read(admin, '/admin/prompts/2')
  assert EVIL in read(admin, f'/admin/prompts?words={EVIL[:20]}')


def read(page, place):
  page.goto(place)
  return page.inner_text('main')
