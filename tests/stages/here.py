"""Runs of stages in this process, on one of its devices."""

import jax
import pytest

from instructgpt_jax import sharding
from instructgpt_jax.stages import experiment


def run(config, workdir):
  """Returns the report of `experiment.run`; the mesh is one device."""
  with pytest.MonkeyPatch.context() as patch:
    alone(patch)
    return experiment.run(config, str(workdir))


def alone(patch):
  """Makes every mesh one of the first device alone."""
  make_mesh = sharding.make_mesh
  patch.setattr(
    sharding,
    'make_mesh',
    lambda **sizes: make_mesh(**sizes, devices=jax.devices()[:1]),
  )
