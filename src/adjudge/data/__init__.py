"""Reading tables, making splits and the data gate."""
