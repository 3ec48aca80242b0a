"""The embedded world: simulated users, demonstrators, labelers and text.

Plain Python; nothing in here knows of tokens, arrays or models.
"""

from instructgpt_jax.simulation.gold import Gold, gold
from instructgpt_jax.simulation.labelers import LABELERS, Labeler, rank
from instructgpt_jax.simulation.replies import perfect_reply
from instructgpt_jax.simulation.world import World

__all__ = [
  'LABELERS',
  'Gold',
  'Labeler',
  'World',
  'gold',
  'perfect_reply',
  'rank',
]
