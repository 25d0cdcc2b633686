"""Fairness, the choice, tables and reports."""
