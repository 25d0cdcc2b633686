"""The packed forward pass, heads on it, and what it takes in memory and time."""
