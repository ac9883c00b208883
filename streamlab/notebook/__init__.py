"""Jupyter: the %%stream magic, live tables and charts. The only place that knows IPython, ipywidgets and bokeh."""
