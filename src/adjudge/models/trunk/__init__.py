"""A model without head: found, loaded, cut, and what it computes in."""
