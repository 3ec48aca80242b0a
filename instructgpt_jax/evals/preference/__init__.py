"""Which of two models people, or what stands in for them, prefer."""
