"""axe-core finds no serious fault on any page, and none is too wide."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.labeling.browser import save

OUTPUTS = ['The Rhine.', 'A river.', 'The Danube, of 2,850 km.']
ADMIN = (
  *('', '/prompts', '/prompts/1', '/labelers', '/agreement', '/results'),
  *('/export', '/audit'),
)
LOOKS = [('desktop', 'light'), ('phone', 'light'), ('phone', 'dark')]


def faults(page):
  """Returns what axe finds serious, and whether a page is too wide."""
  found = (
    Axe()
    .run(page, options={'resultTypes': ['violations']})
    .response['violations']
  )
  wide = page.evaluate('document.documentElement.scrollWidth')
  return [
    f'{fault["id"]}: {[node["target"] for node in fault["nodes"]]}'
    for fault in found
    if fault['impact'] in ('serious', 'critical')
  ] + ([f'{wide} wide'] if wide > page.viewport_size['width'] else [])


@pytest.mark.parametrize('size, scheme', LOOKS)
def test_axe_finds_no_serious_fault(site, size, scheme):
  texts = [*OUTPUTS, 'Volga ' * 80]
  site.add('screening', prompt='?', responses=OUTPUTS, ranks=[1, 2, 2], id='s')
  screened = site.open(
    size, 'sue', '/work', account={'status': 'screening'}, color_scheme=scheme
  )
  pages = {'screening': faults(screened)}
  for kind, shown in (
    ('ranking', texts),
    ('comparison', texts[:2]),
    ('rating', texts[:1]),
    ('demonstration', []),
  ):
    site.add(prompt=kind, responses=shown, kind=kind)
    page = site.open(size, f'ann-{kind}', '/work', color_scheme=scheme)
    assert page.locator('.prompt .text').inner_text() == kind
    page.locator('details').evaluate_all('all => all.map(d => d.open = true)')
    pages[kind] = faults(page)
  page.locator('textarea').fill('The Rhine.')
  save(page)
  page = site.open(size, 'root', color_scheme=scheme, account={'role': 'admin'})
  for place in ADMIN:
    page.goto(f'/admin{place}')
    page.locator('details').evaluate_all('all => all.map(d => d.open = true)')
    pages[f'/admin{place}'] = faults(page)
  page.goto('/guidelines')
  pages['/guidelines'] = faults(page)
  page = site.open(size, place='/login', color_scheme=scheme)
  pages['/login'] = faults(page)
  assert {name: found for name, found in pages.items() if found} == {}


class Looked:
  """Pages by name, and what axe says of each."""

  def __init__(self):
    self.found = {}

  def __call__(self, name, page, *texts):
    assert all(text in page.inner_text('main') for text in texts), name
    self.found[name] = faults(page)

  def check(self):
    assert {name: found for name, found in self.found.items() if found} == {}


def fill(page, **fields):
  for name, text in fields.items():
    page.locator(f'[name={name}]').fill(text)
  page.locator('form.card button.primary').click()


@pytest.mark.parametrize('size, scheme', LOOKS)
def test_nor_where_accounts_are_made_and_mended(site, size, scheme):
  look, long = Looked(), 'a long password'
  root = site.open(
    *(size, 'root', '/admin/labelers'),
    account={'role': 'admin'},
    color_scheme=scheme,
  )
  root.get_by_role('button', name='Make a link').click()
  look('link', root, 'Give this link to one person')
  link = root.get_by_label('Invitation link').input_value()
  page = site.open(size, place=link, color_scheme=scheme)
  look('join', page, 'Choose a name')
  fill(page, name='zoe', password=long, again='another password')
  look('join, refused', page, 'The two passwords differ')
  page.goto('/login')
  fill(page, name='zoe', password='wrong password')
  look('log in, refused', page, 'do not belong together')
  page.goto('/join/none')
  look('error', page, 'Not done', 'Ask for another')
  page = site.open(size, 'ann', '/password', color_scheme=scheme)
  look('password', page, 'Change your password')
  fill(page, old='wrong password', password=long, again=long)
  look('password, refused', page, 'not your old password')
  root.goto('/admin/labelers')
  root.get_by_role('button', name='New password for ann').click()
  look('reset link', root, 'ann chooses a new password')
  link = root.get_by_label('Link for a new password').input_value()
  look('reset', site.open(size, place=link, color_scheme=scheme), 'for ann')
  look.check()


@pytest.mark.parametrize('size, scheme', LOOKS)
def test_nor_where_something_was_refused_or_nothing_is_left(site, size, scheme):
  look = Looked()
  site.add(prompt='?', kind='demonstration')
  page = site.open(size, 'ann', '/work', color_scheme=scheme)
  reply = page.get_by_label('Your reply')
  save = page.get_by_role('button', name='Save and go on')
  reply.fill(' ')
  save.click()
  look('answer, refused', page, 'is empty')
  reply.fill('The Rhine.')
  page.evaluate("document.querySelector('[name=lease]').value = 77")
  save.click()
  look('conflict', page, 'Not saved', 'no such task')
  assert page.get_by_label('What you wrote').input_value() == 'The Rhine.'
  other = site.open(size, 'bob', '/work', color_scheme=scheme)
  look('rest', other, 'Nothing to do now')
  root = site.open(
    *(size, 'root', '/admin/prompts'),
    account={'role': 'admin'},
    color_scheme=scheme,
  )
  if not root.locator('#file').is_visible():
    root.locator('summary').click()
  file = {'name': 'a.jsonl', 'mimeType': 'text/plain', 'buffer': b'{'}
  root.locator('#file').set_input_files(file)
  root.get_by_role('button', name='Import').click()
  look('import, refused', root, 'a.jsonl:1')
  look.check()
