"""Settings every test shares: eight emulated devices, one compilation cache."""

import os
import pathlib
import tempfile

import jax
import pytest

# Set once, before the backend starts: meshes up to (2, 2, 2) on any machine.
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 8)
_cache = os.environ.get(
  'INSTRUCTGPT_TEST_CACHE',
  os.path.join(tempfile.gettempdir(), f'instructgpt_jax_cache_{os.getuid()}'),
)
jax.config.update('jax_compilation_cache_dir', _cache)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.2)
jax.config.update('jax_numpy_rank_promotion', 'allow')


@pytest.fixture(scope='session')
def real_data() -> pathlib.Path:
  """The folder of real data; skips where it is absent."""
  default = pathlib.Path(__file__).parents[2] / 'shared' / 'data'
  folder = pathlib.Path(os.environ.get('INSTRUCTGPT_TEST_DATA', default))
  if not (folder / 'MANIFEST.json').exists():
    pytest.skip(f'real data not found: set INSTRUCTGPT_TEST_DATA ({folder})')
  return folder
