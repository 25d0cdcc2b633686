"""Files of every format as tables: how they are written is found from their content, and every row accounted for."""
