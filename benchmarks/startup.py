"""How long it takes from the command to the first PPO update.

  python -m benchmarks.startup --run=runs/ppo_ptx --workdir=DIR --iters=3

`--run` is a finished run of the same config: its models are where PPO starts.
The first start, in an empty DIR, prepares data and compiles (cold); the others
find both there, as a run does that was stopped before PPO (warm). Also how
long the import of the command takes. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import app, flags

FLAGS = flags.FLAGS
TOLD = re.compile(r'first step of ppo after ([\d.]+) s: (.*)')


def start(config: str, run: str, workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the seconds to the first update and their parts.

  The clock of the whole runs from the start of the process. Raises ValueError
  where the run ends without an update.
  """
  shutil.rmtree(workdir / 'ppo', ignore_errors=True)
  command = [
    *(sys.executable, '-m', 'instructgpt_jax.main', f'--config={config}'),
    *(f'--workdir={workdir}', "--config.stages=('ppo',)"),
    *(f'--config.init.run={run}', '--config.ppo.iterations=1'),
    '--config.ppo.optimizer.warmup=0',
  ]
  began, said = time.monotonic(), []
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
  ) as process:
    for line in process.stdout or ():
      said.append(line)
      match = TOLD.search(line)
      if match:
        seconds = time.monotonic() - began
        parts = [part.rsplit(' ', 1) for part in match[2].split(', ')]
        found = {name: float(took) for name, took in parts}
        process.communicate()
        return {'seconds': round(seconds, 2), 'parts': found}
  raise ValueError(f'no update came:\n{"".join(said[-20:])}')


def imports(iters: int) -> float:
  """Returns the median seconds of a process that imports the command."""
  command = [sys.executable, '-c', 'import instructgpt_jax.main']
  seconds = []
  for _ in range(iters):
    began = time.monotonic()
    subprocess.run(command, check=True)
    seconds.append(time.monotonic() - began)
  return statistics.median(seconds)


def main(argv: Sequence[str]) -> None:
  del argv
  workdir = pathlib.Path(FLAGS.workdir)
  try:
    cold, *warm = [
      start(FLAGS.config, FLAGS.run, workdir) for _ in range(1 + FLAGS.iters)
    ]
  except (ValueError, OSError) as error:
    sys.exit(f'error: {error}')
  found = {
    'benchmark': 'startup',
    'import_s': round(imports(FLAGS.iters), 3),
    'cold_s': cold['seconds'],
    'warm_s_median': statistics.median(each['seconds'] for each in warm),
    'cold': cold,
    'warm': warm,
    'load': round(os.getloadavg()[0], 2),
  }
  print(json.dumps(found), flush=True)


if __name__ == '__main__':
  flags.DEFINE_string('config', 'configs/ppo_ptx.py', 'File and preset.')
  flags.DEFINE_string('run', None, 'A finished run of that config.')
  flags.DEFINE_string('workdir', 'runs/startup', 'Where the starts write.')
  flags.DEFINE_integer('iters', 3, 'Warm starts.', lower_bound=1)
  flags.mark_flag_as_required('run')
  app.run(main)
