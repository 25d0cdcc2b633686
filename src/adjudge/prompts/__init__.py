"""Templates, verbalizers and the one function that renders token ids."""
