"""What holds for every request: headers of the answer, and its size."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = '; '.join(
  (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  )
)
BROKEN = 'Something broke here, and nothing was saved. Try again.'
HEADERS = {
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
}


class Headers:
  """Adds the headers of safety; pages are not kept by anybody."""

  def __init__(self, app: ASGIApp, https: bool):
    self._app, self._headers = app, dict(HEADERS)
    if https:
      self._headers['strict-transport-security'] = 'max-age=31536000'

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    static, begun = scope['path'].startswith('/static/'), False

    async def sent(message: Message) -> None:
      nonlocal begun
      if message['type'] == 'http.response.start':
        begun = True
        headers = MutableHeaders(scope=message)
        for name, value in self._headers.items():
          headers[name] = value
        headers.setdefault(
          'cache-control', 'no-cache' if static else 'no-store'
        )
      await send(message)

    try:
      await self._app(scope, receive, sent)
    except Exception:
      if not begun:
        await PlainTextResponse(BROKEN, 500)(scope, receive, sent)
      raise  # to be logged


class BodyLimit:
  """Answers 413 to a body of more bytes, whatever its length claims to be.

  The connection of who is refused a `larger` body before it is read is closed:
  nobody reads it to its end either.
  """

  def __init__(self, app: ASGIApp, limit: int, larger: dict[str, int]):
    self._app, self._limit, self._larger = app, limit, larger

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] != 'http':
      await self._app(scope, receive, send)
      return
    limit = self._larger.get(scope['path'], self._limit)
    refusal = f'More than {limit // 1024} KB.'
    length = dict(scope['headers']).get(b'content-length', b'0')
    if not length.isdigit() or int(length) > limit:
      await PlainTextResponse(refusal, 413)(scope, receive, send)
      return
    seen, unread = 0, scope['path'] in self._larger

    async def received() -> Message:
      nonlocal seen, unread
      message = await receive()
      seen += len(message.get('body', b''))
      if seen > limit:
        raise HTTPException(413, refusal)  # to whoever reads the body
      unread = unread and message.get('more_body', False)
      return message

    async def sent(message: Message) -> None:
      if message['type'] == 'http.response.start' and unread:
        MutableHeaders(scope=message)['connection'] = 'close'
      await send(message)

    await self._app(scope, received, sent)
