"""What a browser sees: pages, the JSON API, and who may see which."""
