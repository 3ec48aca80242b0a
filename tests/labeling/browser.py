"""The application on a port, and people with a browser before it."""

import contextlib
import shutil
import socket
import threading

import uvicorn
from playwright import sync_api

from instructgpt_jax.labeling import imports, incoming, security
from tests import services

DESKTOP = {'viewport': {'width': 1280, 'height': 860}}
PHONE = {
  'viewport': {'width': 390, 'height': 844},
  'has_touch': True,
  'is_mobile': True,
}
SIZES = {'desktop': DESKTOP, 'phone': PHONE}


@contextlib.contextmanager
def chromium():
  """Yields Debian's chromium; skips, or fails in CI, where there is none."""
  program = shutil.which('chromium')
  if program is None:
    services.lacking('chromium', 'chromium')
  with sync_api.sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=program, args=['--no-sandbox']
    )
    yield browser
    browser.close()


@contextlib.contextmanager
def serving(app):
  """Yields the address of the application while it is served."""
  listener = socket.socket()
  listener.bind(('127.0.0.1', 0))
  server = uvicorn.Server(uvicorn.Config(app, log_level='warning'))
  thread = threading.Thread(
    target=server.run, kwargs={'sockets': [listener]}, daemon=True
  )
  thread.start()
  try:
    yield f'http://127.0.0.1:{listener.getsockname()[1]}'
  finally:
    server.should_exit = True
    thread.join(30)
    listener.close()


class Site:
  """Opens pages of one application, each person in a context of their own."""

  def __init__(self, app, address, browser, enter):
    self.app, self.address = app, address
    self._browser, self._enter = browser, enter
    self._contexts, self.complaints = [], []

  def add(self, use='work', **record):
    """Imports one record."""
    imports.store(
      self.app.state.database,
      [incoming.item(record, 'test:1', use)],
      self.app.state.settings,
      self.app.state.clock(),
    )

  def rows(self, table):
    """Returns all rows of a table, in order."""
    with self.app.state.database.reading() as session:
      return session.query(table).order_by(table.id).all()

  def open(self, size, name='', place='/', *, account=None, **options):
    """Returns a page; `account` are arguments of a new account's `enter`."""
    context = self._browser.new_context(
      base_url=self.address, **SIZES[size], **options
    )
    context.set_default_timeout(15_000)
    self._contexts.append(context)
    if name:
      client = self._enter(name, **(account or {}))
      cookie = client.cookies[security.COOKIE]
      context.add_cookies(
        [{'name': security.COOKIE, 'value': cookie, 'url': self.address}]
      )
    page = context.new_page()
    page.on('pageerror', lambda error: self.complaints.append(str(error)))
    page.on('dialog', lambda box: self.complaints.append(box.message))
    page.on('console', self._listen)
    page.goto(place)
    return page

  def _listen(self, message):
    # A refused form (4xx) is said on the page; all else is a fault of ours.
    if message.type == 'error' and 'the server responded' not in message.text:
      self.complaints.append(message.text)

  def close(self):
    for context in self._contexts:
      context.close()


def save(page):
  """Saves the answer to a task."""
  page.get_by_role('button', name='Save and go on').click()
  page.wait_for_url('**/work?did=*')


def drag(page, source, target):
  """Drags with a finger where there is one, else with the mouse."""
  page.locator(target).scroll_into_view_if_needed()
  start, end = (page.locator(s).bounding_box() for s in (source, target))
  path = [(b['x'] + b['width'] / 2, b['y'] + b['height'] / 2)
          for b in (start, end)]  # fmt: skip
  if page.viewport_size['width'] > 500:
    page.mouse.move(*path[0])
    page.mouse.down()
    page.mouse.move(*path[1], steps=4)
    page.mouse.up()
    return
  finger = page.context.new_cdp_session(page)

  def touch(kind, *points):
    finger.send(
      'Input.dispatchTouchEvent',
      {'type': kind, 'touchPoints': [{'x': x, 'y': y} for x, y in points]},
    )

  touch('touchStart', path[0])
  middle = tuple(sum(both) / 2 for both in zip(*path, strict=True))
  for point in (middle, path[1]):
    touch('touchMove', point)
  touch('touchEnd')


def tab_to(page, name):
  """Presses Tab until the focus is on the field, or button, of this name."""
  for _ in range(60):
    page.keyboard.press('Tab')
    found = page.evaluate(
      'document.activeElement.name || document.activeElement.innerText'
    )
    if found == name:
      return
  raise AssertionError(f'Tab does not reach {name}')
