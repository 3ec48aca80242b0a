"""What `checks.check` says of a config, line by line."""

import jax

from instructgpt_jax import sharding
from instructgpt_jax.stages import checks
from tests.config_files import load


def mesh(data=1, fsdp=1, tensor=1):
  devices = jax.devices()[: data * fsdp * tensor]
  return sharding.make_mesh(data, fsdp, tensor, devices)


def complaints(config, *sizes):
  """Returns the lines of the one error, [] where nothing is wrong."""
  try:
    checks.check(config, mesh(*sizes))
  except ValueError as error:
    first, *lines = str(error).splitlines()
    assert first == f'the config {config.name!r} cannot run:'
    assert all(line.startswith('  - ') for line in lines)
    return [line[4:] for line in lines]
  return []


def world(*overrides):
  """Returns the config of the embedded world, overridden."""
  return load('ppo_ptx', '', *(f'--config.{text}' for text in overrides))
