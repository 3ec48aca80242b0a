"""Programs of this folder run once: they are compiled without LLVM's effort."""

import jax
import pytest


@pytest.fixture(scope='package', autouse=True)
def _quick_compilation():
  # Halves the time to compile. The program XLA plans is the same, and so is
  # its memory; only its machine code is slower.
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)
