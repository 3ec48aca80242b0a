"""Another program and ours in turns, on one machine in one go.

  python -m benchmarks.compare --rounds=3 --metric=samples_per_s \\
    --ours='python -m benchmarks.ppo_iteration --batch=64 --iters=5' \\
    --peer='peer-env/bin/python trl_ppo.py 4 256 4 4096 64 32 32 5'

Both commands end with a line of JSON; of each the metric is taken
(--peer_metric where the other calls it something else). Peer and ours run one
after the other, in the other order in every second round, so that a machine
whose speed drifts treats both alike: quote the medians, and the ratio round by
round, which is ours by peer (of seconds, less is better). The last line is
JSON.
"""

from __future__ import annotations

import json
import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

FLAGS = flags.FLAGS
LONGEST = 3_600  # seconds of one run


def last_json(command: str) -> dict[str, Any]:
  """Returns what a command prints as its last line.

  Raises ValueError, with the end of what it said, where it fails or that is
  no JSON object.
  """
  words = shlex.split(command)
  if words and words[0] == 'python':
    words[0] = sys.executable
  done = subprocess.run(
    words, capture_output=True, text=True, check=False, timeout=LONGEST
  )
  line = (done.stdout.strip().splitlines() or [''])[-1]
  try:
    found = json.loads(line)
  except ValueError:
    found = None
  if done.returncode or not isinstance(found, dict):
    end = (done.stderr or done.stdout).strip()[-2000:]
    raise ValueError(
      f'{command!r} ended with status {done.returncode} and its last line is '
      f'{"JSON" if isinstance(found, dict) else "no JSON"}:\n{end}'
    )
  return found


def compare(
  ours: str, peer: str, *, metric: str, peer_metric: str, rounds: int
) -> dict[str, Any]:
  """Returns the metric of both in every round, medians and ratios."""
  values: dict[str, list[float]] = {'ours': [], 'peer': []}
  sides = [('peer', peer, peer_metric or metric), ('ours', ours, metric)]
  last: dict[str, Any] = {}
  for turn in range(rounds):
    for side, command, name in sides[:: -1 if turn % 2 else 1]:
      last[side] = last_json(command)
      if name not in last[side]:
        raise ValueError(f'{command!r} gives no {name!r}: {last[side]}')
      values[side].append(float(last[side][name]))
      print(f'round {turn + 1}: {side} {values[side][-1]:.6g}', flush=True)
  ratios = [a / b for a, b in zip(values['ours'], values['peer'], strict=True)]
  return {
    'benchmark': 'compare',
    'metric': metric,
    'ours': values['ours'],
    'peer': values['peer'],
    'ours_median': statistics.median(values['ours']),
    'peer_median': statistics.median(values['peer']),
    'ratios': ratios,
    'ratio_median': statistics.median(ratios),
    'commands': {'ours': ours, 'peer': peer},
    'load': os.getloadavg()[0],
    'last': last,
  }


def main(argv: Sequence[str]) -> None:
  del argv
  try:
    found = compare(
      FLAGS.ours,
      FLAGS.peer,
      metric=FLAGS.metric,
      peer_metric=FLAGS.peer_metric,
      rounds=FLAGS.rounds,
    )
  except (ValueError, OSError, subprocess.TimeoutExpired) as error:
    sys.exit(f'error: {error}')
  print(
    f'{found["metric"]}: ours {found["ours_median"]:.6g}, peer '
    f'{found["peer_median"]:.6g}, ratio {found["ratio_median"]:.3f} '
    f'({min(found["ratios"]):.3f} to {max(found["ratios"]):.3f})'
  )
  print(json.dumps(found), flush=True)


if __name__ == '__main__':
  flags.DEFINE_string('ours', None, 'Command of this project.')
  flags.DEFINE_string('peer', None, 'Command of the other program.')
  flags.DEFINE_string('metric', 'samples_per_s', 'What is compared.')
  flags.DEFINE_string('peer_metric', '', 'What the other one calls it.')
  flags.DEFINE_integer('rounds', 3, 'Runs of each.', lower_bound=1)
  flags.mark_flags_as_required(['ours', 'peer'])
  app.run(main)
