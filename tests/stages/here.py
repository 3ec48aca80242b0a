"""Runs of stages in this process, on one of its devices."""

import jax
import pytest

from instructgpt_jax import sharding
from instructgpt_jax.stages import experiment


def run(config, workdir):
  """Returns the report of `experiment.run`; the mesh is one device."""
  make_mesh = sharding.make_mesh
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      sharding,
      'make_mesh',
      lambda **sizes: make_mesh(**sizes, devices=jax.devices()[:1]),
    )
    return experiment.run(config, str(workdir))
