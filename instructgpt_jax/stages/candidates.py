"""Which models are evaluated, and how any folder of a model is opened."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from instructgpt_jax.data import tokenizer as tokenizer_lib
from instructgpt_jax.models import decoder, pretrained
from instructgpt_jax.models.config import ModelConfig
from instructgpt_jax.runtime import checkpoint
from instructgpt_jax.stages import session as session_lib
from instructgpt_jax.stages import sources
from instructgpt_jax.stages.session import Session
from instructgpt_jax.types import Params

# Set by the devices at hand, not by the folder.
COMPUTED = ('dtype', 'param_dtype', 'scan_layers', 'remat')


def of_run(
  config: ConfigDict, run: pathlib.Path
) -> dict[str, tuple[str, pathlib.Path]]:
  """Returns {name in the report: (stage, folder of params)} of what there is.

  Of this run and, for stages left out of it, of what config.init names.
  """
  ema = config.evaluate.weights == 'ema' and config.ppo.ema_decay > 0
  wanted = {
    'base': ('pretrain', 'params'),
    'sft': ('sft', 'params'),
    config.name: ('ppo', 'ema' if ema else 'params'),
  }
  found = {}
  for name, (stage, kind) in wanted.items():
    folder = sources.source_folder(config, run, stage)
    # What this run trained must be there: loading it says what is missing.
    if folder and (stage in config.stages or _there(folder, kind)):
      found[name] = stage, sources.params_folder(folder, kind)
  return found


def _there(folder: pathlib.Path, kind: str) -> bool:
  place = sources.params_folder(folder, kind)
  return sources.open_weights(place) or (place / 'metadata.json').exists()


def given(config: ConfigDict) -> dict[str, pathlib.Path]:
  """Returns {name: folder of params} of config.evaluate.models."""
  models = config.evaluate.models
  return {
    pair[0]: sources.params_folder(pathlib.Path(pair[-1])) for pair in models
  }


def contents(config: ConfigDict) -> dict[str, str]:
  """Returns hashes of the models that are given, and of all files beside.

  Those of tasks, of the harness, of people, of judges; and the settings of the
  run whose reward model it is, which say what that was trained on.
  """
  evaluate = config.evaluate
  named = *evaluate.files, *evaluate.shot_files
  paths = [pathlib.Path(pair[-1]) for pair in named]
  for folder in map(pathlib.Path, evaluate.folders):
    # Tasks of the harness are YAML, beside whatever they read.
    found = folder.rglob('*') if evaluate.harness else folder.glob('*.jsonl*')
    paths += sorted(path for path in found if path.is_file())
  if evaluate.people:
    paths += sorted(pathlib.Path(evaluate.people).glob('*.jsonl'))
  paths += _judges(config)
  reward = sources.source_folder(config, pathlib.Path(), 'reward')
  if reward and 'reward' not in config.stages:
    paths.append(reward.parent / 'config.json')
    paths.append(reward.parent / 'collect' / 'comparisons.jsonl')
  for folder in given(config).values():
    opened = sources.open_weights(folder)
    paths += sources.read_of(folder) if opened else [folder]
  hashes = {str(path): sources.digest(path) for path in paths}
  return {path: value for path, value in hashes.items() if value}


def _judges(config: ConfigDict) -> list[pathlib.Path]:
  """Returns the list of words, and the files of local classifiers."""
  toxicity, truth = config.evaluate.toxicity, config.evaluate.truth
  named = (toxicity.words, toxicity.scorer, truth.judge, truth.information)
  paths = [pathlib.Path(name) for name in named if name]
  files = [path for path in paths if path.is_file()]
  for folder in paths:
    if folder.is_dir():
      files += sources.read_of(folder)
  return files


def problems(config: ConfigDict) -> Iterator[str]:
  """Yields what is wrong with the models that are evaluated."""
  pairs = config.evaluate.models
  anything = pairs or any(config.init.values())
  # Where prompts are judged, it is said elsewhere.
  if not (anything or config.evaluate.prompts or len(config.stages) > 1):
    yield (
      'no model to evaluate: give --config.init.run=RUN, or '
      "--config.evaluate.models=\"(('NAME', 'FOLDER'),)\""
    )
  if not all(
    isinstance(pair, tuple)
    and len(pair) == 2
    and all(isinstance(part, str) and part for part in pair)
    for pair in pairs
  ):
    yield (
      f'evaluate.models {pairs}: give (("NAME", "FOLDER"),), a name and a '
      'folder for each'
    )
    return
  names = [name for name, _ in pairs]
  taken = {'base', 'sft', config.name}
  for name in sorted({n for n in names if names.count(n) > 1 or n in taken}):
    yield f'evaluate.models names {name!r} twice, or as the run does: rename it'
  for name, folder in given(config).items():
    if not sources.holds_model(folder):
      yield (
        f'evaluate.models: {folder} ({name}) is neither a model folder '
        '(config.json and weights) nor trained params: correct the path'
      )
    elif sources.has_score(folder):
      yield f'evaluate.models: {folder} ({name}) is no language model'


@dataclasses.dataclass(frozen=True)
class Opened:
  """A language model with its own tokenizer, whatever the run's is."""

  session: Session  # the run's, but for the tokenizer
  model: decoder.LanguageModel
  params: Params


def opened(
  session: Session, folder: pathlib.Path, *, own: bool = False
) -> Opened:
  """Returns the model in a folder: trained params, or of transformers.

  One of the run's `own` has its tokenizer.

  Raises:
    ValueError: if the folder holds none, or another's tokenizer.
  """
  settings = session.config.model
  ours = {key: settings[key] for key in COMPUTED}
  if sources.open_weights(folder):
    cfg, _ = pretrained.load_config(folder, **ours)
    words = session.tokenizer
    if sources.has_tokenizer(folder) and not own:
      words = tokenizer_lib.from_folder(folder, ids=cfg.vocab_size)
  else:
    saved = checkpoint.load_metadata(folder)['model']
    cfg = dataclasses.replace(ModelConfig(**saved), **ours)
    words = session.tokenizer
    if not own:
      words = tokenizer_lib.from_folder(
        sources.tokenizer_of(folder), ids=cfg.vocab_size
      )
  known = min(cfg.vocab_size, words.vocab_size)
  model = decoder.LanguageModel(dataclasses.replace(cfg, known_ids=known))
  there = dataclasses.replace(session, tokenizer=words)
  return Opened(there, model, session_lib.load_params(there, folder, model))
