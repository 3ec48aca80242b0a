"""Programs of the machine that some tests need: a database, a browser."""

import os

import pytest


def lacking(program: str, package: str):
  """Skips a test for the lack of a program, and says which package has it.

  With INSTRUCTGPT_REQUIRE_SERVICES set, as in CI, absence is a failure.
  """
  reason = f'no {program}: apt-get install {package}'
  if os.environ.get('INSTRUCTGPT_REQUIRE_SERVICES'):
    pytest.fail(reason)
  pytest.skip(reason)
