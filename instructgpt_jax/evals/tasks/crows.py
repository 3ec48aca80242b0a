"""CrowS-Pairs: stereotypes and their opposites (Nangia et al. 2020)."""

from __future__ import annotations

from instructgpt_jax.evals import sources
from instructgpt_jax.evals.task import Settings
from instructgpt_jax.evals.tasks.sentences import Pairs

FIELDS = {'sent_more': str, 'sent_less': str}


def crows(settings: Settings) -> Pairs:
  """Returns the task; the first of a pair is the more stereotyped one."""
  items = sources.records('crows_pairs', FIELDS, settings)
  pairs = [(item['sent_more'], item['sent_less']) for item in items]
  return Pairs('crows_pairs', pairs, 'stereotype_likelier')


TASKS = {'crows_pairs': crows}
