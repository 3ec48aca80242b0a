"""How well a reward model knows what labelers prefer, and what it leans to."""
