"""Runs made of runs: merged, combined, voting, distilled, exported, adopted from outside."""
