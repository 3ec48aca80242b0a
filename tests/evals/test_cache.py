"""A model is known by its weights, wherever they lie."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from instructgpt_jax import sharding
from instructgpt_jax.evals import cache

X = np.random.default_rng(0).normal(size=(8, 6)).astype(np.float32)


def swapped():
  found = X.copy()
  found[[0, 1]] = found[[1, 0]]
  return found


def nudged():
  found = X.copy()
  found[3, 4] = np.nextafter(found[3, 4], 1)
  return found


@pytest.mark.parametrize('other', [swapped(), nudged(), X.T, X.reshape(6, 8)])
def test_other_weights_are_another_model(other):
  mine = cache.fingerprint({'a': jnp.array(X)})
  assert cache.fingerprint({'a': jnp.array(other)}) != mine


def test_names_types_and_settings_count_too():
  mine = cache.fingerprint({'a': jnp.array(X)}, {'layers': 2})
  assert cache.fingerprint({'b': jnp.array(X)}, {'layers': 2}) != mine
  assert cache.fingerprint({'a': jnp.array(X)}, {'layers': 3}) != mine
  half = jnp.array(X).astype(jnp.bfloat16)
  assert cache.fingerprint({'a': half}, {'layers': 2}) != mine


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16, jnp.int8])
def test_the_mesh_does_not_change_it(dtype):
  mesh = sharding.make_mesh(2, 2, 2)
  layout = NamedSharding(mesh, PartitionSpec('data', 'tensor'))
  x = jnp.array(100 * X).astype(dtype)
  spread = jax.device_put(x, layout)
  assert cache.fingerprint({'a': x}) == cache.fingerprint({'a': spread})


def test_a_name_holds_all_that_was_asked():
  names = {
    cache.key('score', (1, 2), 1),
    cache.key('score', (1, 2), 2),
    cache.key('score', (1, 2, 3), 1),
    cache.key('generate', (1, 2), 1),
  }
  assert len(names) == 4
