"""A server in this process that answers as a test says."""

import contextlib
import http.server
import json
import threading


class Fake:
  """Answers each request by `reply(body)`: (status, headers, answer)."""

  def __init__(self, reply):
    self.reply, self.bodies, self.headers = reply, [], []
    self.lock = threading.Lock()


@contextlib.contextmanager
def serving(reply):
  """Yields (address, Fake); the Fake has what was asked, in order."""
  fake = Fake(reply)

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
      body = self.rfile.read(int(self.headers['Content-Length']))
      with fake.lock:
        fake.bodies.append(json.loads(body))
        fake.headers.append(dict(self.headers))
        status, headers, answer = fake.reply(fake.bodies[-1])
      text = answer if isinstance(answer, str) else json.dumps(answer)
      self.send_response(status)
      for name, value in {**headers, 'Content-Length': len(text)}.items():
        self.send_header(name, str(value))
      self.end_headers()
      self.wfile.write(text.encode())

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  thread = threading.Thread(
    target=server.serve_forever, args=(0.01,), daemon=True
  )
  thread.start()
  try:
    yield f'http://127.0.0.1:{server.server_port}/v1', fake
  finally:
    server.shutdown()
    server.server_close()
    thread.join()
