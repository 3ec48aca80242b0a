"""What says whether an answer is true, or toxic: each says what it is."""
