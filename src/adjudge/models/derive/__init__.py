"""One model made of others: an adapter folded into its weights, adapters combined."""
