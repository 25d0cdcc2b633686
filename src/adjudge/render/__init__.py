"""Charts and the look of pages and reports, for everything that draws."""
