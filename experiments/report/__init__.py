"""The page, plots and tables of a grid of runs; the door is ``writing.write_grid_report``.

reading → section (runs by strategy, condition, seed; statistics) → accuracy, defence (plots as records) and
contents (tables as records) → drawing (figures), tables and latex (text) → pages, writing.
"""
