"""What every layer shares: errors, types, protocols, strict configs, seeds and run folders."""
