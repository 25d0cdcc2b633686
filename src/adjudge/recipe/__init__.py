"""What is to be run, in YAML: recipes, search spaces, and the files that a user starts from."""
