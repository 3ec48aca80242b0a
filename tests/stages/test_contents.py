"""What an evaluation is known by: all files that decide it."""

import pytest

from configs import evaluate
from instructgpt_jax.stages import candidates


def config_of(tmp_path):
  config = evaluate.get_config()
  for name in ('people', 'harness', 'run/reward'):
    (tmp_path / name).mkdir(parents=True)
  config.evaluate.people = str(tmp_path / 'people')
  config.evaluate.toxicity.words = str(tmp_path / 'words.txt')
  config.evaluate.folders = (str(tmp_path / 'harness'),)
  config.evaluate.harness = True
  config.init.run = str(tmp_path / 'run')
  return config


@pytest.mark.parametrize(
  'name',
  [
    *('people/comparisons.jsonl', 'people/ratings.jsonl', 'words.txt'),
    *('harness/mine.yaml', 'run/config.json'),
  ],
)
def test_a_file_that_changes_makes_another_evaluation(tmp_path, name):
  config = config_of(tmp_path)
  none = candidates.contents(config)
  (tmp_path / name).write_text('a')
  one = candidates.contents(config)
  (tmp_path / name).write_text('other')
  two = candidates.contents(config)
  assert str(tmp_path / name) in one
  assert none != one != two
