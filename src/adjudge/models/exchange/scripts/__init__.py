"""The scripts that exported folders ship: what they need is beside them, and nothing of adjudge.

Each reads a JSON list of texts from standard input and writes a JSON list of probabilities, one list of C for each
text, to standard output. The check of an export is to run its script in a fresh process.
"""
