"""The page, plots and tables of a grid of runs; the door is ``writing.write_grid_report``.

reading → naming → section (runs by strategy, condition, seed) → statistics, comparisons → plots and tables as
records → html and interactive (the page), images (matplotlib), tables (Markdown, LaTeX, terminal).
"""
