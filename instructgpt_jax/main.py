"""Runs the stages of a config in order, and ends with a report.

  python -m instructgpt_jax.main --config=configs/ppo_ptx.py

A config of another name than an experiment's starts the program of that name.

A run that was stopped goes on where it was: give the same command again.
SIGTERM and Ctrl-C stop it with everything saved; the exit codes are then 0
(to be queued again) and 130. INSTRUCTGPT_STOPPED_EXIT_CODE=75 makes it 75 after
SIGTERM, for launchers, which must tell a stopped run from a finished one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from instructgpt_jax.runtime import interrupts, startup

CONFIG = config_flags.DEFINE_config_file(
  'config', None, 'Experiment; a preset follows a colon.', lock_config=True
)
WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run [default: runs/NAME_PRESET].'
)
FIT = flags.DEFINE_string(
  'fit', '', 'Only say whether it fits on a slice, e.g. v5p:8x8x8 or h100:8.'
)
FIT_JSON = flags.DEFINE_string('fit_json', '', 'Where --fit writes its JSON.')
# Where no launcher says it: in the order of distributed.EXPLICIT.
JOB = (
  flags.DEFINE_string('coordinator', None, 'HOST:PORT of process 0 of a job.'),
  flags.DEFINE_integer('processes', None, 'How many processes the job has.'),
  flags.DEFINE_integer('process_id', None, 'Which of them this is, from 0.'),
)
DEBUG = flags.DEFINE_bool('debug', False, 'Show the traceback of an error.')
flags.mark_flag_as_required('config')


def default_workdir(config: Any) -> str:
  """Returns runs/NAME, with the preset behind it if there is one."""
  return 'runs/' + '_'.join(filter(None, (config.name, config.preset)))


def main(argv: list[str]) -> None:
  if len(argv) > 1:
    raise app.UsageError(f'unknown arguments: {" ".join(argv[1:])}')
  logging.set_verbosity(logging.INFO if DEBUG.value else logging.WARNING)
  if _name() == 'label' and not FIT.value:
    _label()  # a server ends when the requests it has begun are answered
    return
  with interrupts.watching():
    _run()


def _name() -> str:
  try:
    return CONFIG.value.name
  except (ValueError, OSError):  # which `_run` says
    return ''


def _run() -> None:
  if FIT.value:
    _fit(FIT.value)
    return
  # Seconds of imports: here Ctrl-C finds somebody who listens.
  from instructgpt_jax.runtime import distributed  # noqa: PLC0415
  from instructgpt_jax.runtime.progress import printable, tell  # noqa: PLC0415
  from instructgpt_jax.stages import (  # noqa: PLC0415
    compare,
    convert,
    experiment,
    sweep,
  )

  startup.mark('import')
  for name, flag in zip(distributed.EXPLICIT, JOB, strict=True):
    if flag.value is not None:
      os.environ[name] = str(flag.value)
  programs: dict[str, Callable[[Any], None]] = {
    'convert': convert.run,
    'compare': compare.run,
  }
  try:
    config = CONFIG.value
    if config.name in programs:
      programs[config.name](config)
    else:
      program = sweep.run if config.name == 'sweep' else experiment.run
      program(config, WORKDIR.value or default_workdir(config))
  except interrupts.TrainingInterrupted as error:
    tell(str(error), sys.stderr)
    sys.exit(error.exit_code)
  except (ValueError, OSError) as error:
    # What a user can put right is said in one message, without a traceback.
    if DEBUG.value:
      raise
    sys.exit(printable(f'error: {error}'))


def _label() -> None:
  """Runs the one program that never needs jax, without importing it."""
  config = CONFIG.value
  try:
    from instructgpt_jax.labeling import command  # noqa: PLC0415

    # One folder for all of its programs: a backup is of what was served.
    command.run(config, WORKDIR.value or f'runs/{config.name}')
  except KeyboardInterrupt:
    sys.exit(130)
  except ImportError as error:
    sys.exit(f"error: {error}: pip install -e '.[labeling]' brings it")
  except (ValueError, OSError) as error:
    if DEBUG.value:
      raise
    from instructgpt_jax.runtime.progress import printable  # noqa: PLC0415

    sys.exit(printable(f'error: {error}'))


def _fit(target: str) -> None:
  from instructgpt_jax import fit  # noqa: PLC0415

  try:
    fit.run(CONFIG.value, target, FIT_JSON.value or '')
  except (ValueError, OSError) as error:
    if DEBUG.value:
      raise
    sys.exit(f'error: {error}')


def parse(argv: list[str]) -> list[str]:
  """Returns what is left of the arguments; a wrong flag ends in one line."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    # An error inside a config file comes as its traceback: the end says it.
    *_, message = str(error).strip().splitlines()
    sys.exit(f'error: {message.strip()}')
  except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
    reason: Any = error
    while isinstance(reason, Exception) and reason.args:
      reason = reason.args[-1]  # without the quotes a KeyError puts around it
    sys.exit(f'error: --config: {" ".join(str(reason).split())}')


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
