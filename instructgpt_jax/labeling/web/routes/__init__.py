"""One module per audience; each holds a `router`."""
