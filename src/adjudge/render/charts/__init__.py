"""Charts as inline SVG: drawn by hand, coloured by the page's style, readable without colour."""
