"""One file per command; the only layer that prints or exits."""
