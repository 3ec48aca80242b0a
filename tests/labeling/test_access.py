"""Every route is open to the roles of the table, and to nobody else."""

import itertools
import re

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from instructgpt_jax.labeling.web import access
from instructgpt_jax.labeling.web.app import ROUTERS

ROUTES = sorted(access.ROUTES.items())
REFUSED = (401, 403)


def ask(client, key):
  method, path = key.split()
  return client.request(method, re.sub(r'\{[^}]*\}', '1', path))


@pytest.fixture
def clients(app, enter):
  return {
    'anyone': TestClient(app, follow_redirects=False),
    'labeler': enter('ann'),
    'admin': enter('root', role='admin'),
  }


def allowed(role, wanted):
  return wanted in ('anyone', role) or (
    wanted == 'member' and role != 'anyone'
  )


@pytest.mark.parametrize('role', ['anyone', 'labeler', 'admin'])
def test_every_route_is_open_to_its_roles_alone(clients, role):
  for key, wanted in ROUTES:
    # A lack of CSRF token, or a wrong password, is refused for another reason.
    if wanted.startswith('anyone') and not key.startswith('GET'):
      continue
    if key == 'POST /logout':
      continue  # ends the session; tested on its own
    status = ask(clients[role], key).status_code
    refused = status in REFUSED
    assert refused != allowed(role, wanted), (key, status)
    assert status < 500, key
