"""Arrays and prediction files in, numbers out; no model library."""
