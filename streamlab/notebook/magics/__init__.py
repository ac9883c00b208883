"""``%%stream`` and ``%stream``: what is typed in cells, completed, run and answered."""
