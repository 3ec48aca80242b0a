"""How benchmarks time programs, and what they are held against."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'numpy')
COPIED = 256 * 2**20  # bytes: far more than any cache
SIDE = {'cpu': 2048}  # of the matrices that are multiplied
REPEATS = {'cpu': 1}  # in one program, so that its start does not count


@dataclasses.dataclass(frozen=True)
class Timed:
  """Seconds of each run, and of the first, which compiled."""

  first: float
  each: tuple[float, ...]

  @property
  def median(self) -> float:
    return statistics.median(self.each)

  @property
  def compile(self) -> float:
    """Seconds of the first run that the others did not need."""
    return max(0.0, self.first - self.median)


def timed(run: Callable[[], Any], iters: int) -> Timed:
  """Returns the seconds of `iters` runs, after one that compiles.

  `run` returns arrays, which are waited for.
  """
  seconds = []
  for _ in range(iters + 1):
    began = time.perf_counter()
    jax.block_until_ready(run())
    seconds.append(time.perf_counter() - began)
  return Timed(seconds[0], tuple(seconds[1:]))


def matmul_rate(dtype: Any) -> float:
  """Returns the FLOP/s of products of square matrices, on one device."""
  platform = jax.default_backend()
  size, times = SIDE.get(platform, 8192), REPEATS.get(platform, 16)
  x = jax.random.normal(jax.random.key(0), (size, size)) / size**0.5
  x = x.astype(dtype)
  product = jax.jit(
    lambda x: jax.lax.fori_loop(0, times, lambda _, y: y @ x, x)
  )
  return times * 2 * size**3 / min(timed(lambda: product(x), 5).each)


def copy_rate() -> float:
  """Returns bytes read and written a second by a large sum, on one device.

  In place: of fresh memory the first touch would be timed as well.
  """
  times = REPEATS.get(jax.default_backend(), 16)
  move = jax.jit(
    lambda x: jax.lax.fori_loop(0, times, lambda _, y: y + 1, x),
    donate_argnums=0,
  )
  x = jnp.ones(COPIED // 4, jnp.float32)

  def run() -> jax.Array:
    nonlocal x
    x = move(x)
    return x

  return times * 2 * COPIED / min(timed(run, 5).each)


def machine(dtype: Any) -> dict[str, Any]:
  """Returns the rates of the machine, measured now, and what it is.

  Measure last: the memory it takes would be in the peak of what is timed.
  """
  device = jax.devices()[0]
  return {
    'device': device.device_kind,
    'devices': jax.device_count(),
    'cores': os.cpu_count(),
    'load': round(os.getloadavg()[0], 2),
    'date': datetime.date.today().isoformat(),
    'python': platform.python_version(),
    'versions': {name: importlib.metadata.version(name) for name in PACKAGES},
    'matmul_gflops_per_s': round(matmul_rate(dtype) / 1e9, 1),
    'copy_gb_per_s': round(copy_rate() / 1e9, 2),
  }


def peak_memory() -> dict[str, float]:
  """Returns the most MB held so far: by the process, and by a device."""
  found = {'host': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
  stats = jax.devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    found['device'] = stats['peak_bytes_in_use'] / 2**20
  return {name: round(value, 1) for name, value in found.items()}


def against(
  flops: float, moved: float, seconds: float, machine: dict[str, Any]
) -> dict[str, float]:
  """Returns rates of a phase, also as shares of the machine's own.

  The machine's copy rate counts bytes read and bytes written, as `moved`.
  """
  rate, bandwidth = flops / seconds, moved / seconds
  return {
    'gflops': round(flops / 1e9, 6),
    'gigabytes': round(moved / 1e9, 6),
    'gflops_per_s': round(rate / 1e9, 2),
    'gb_per_s': round(bandwidth / 1e9, 2),
    'share_of_matmul': round(rate / 1e9 / machine['matmul_gflops_per_s'], 3),
    'share_of_copy': round(bandwidth / 1e9 / machine['copy_gb_per_s'], 3),
  }


def tell(found: dict[str, Any]) -> None:
  """Prints the result as the last line."""
  print(json.dumps(found), flush=True)
