"""Charts as data: lines, SVG, Bokeh figures without a server, and how they are packed for the page."""
