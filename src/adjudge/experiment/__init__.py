"""Recipes and the runner, prediction over files and the scikit-learn face."""
