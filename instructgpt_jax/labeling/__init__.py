"""A web application in which people write, rate and rank; never needs jax."""
