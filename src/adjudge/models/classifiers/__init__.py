"""Everything that predicts, with its saving and loading."""
