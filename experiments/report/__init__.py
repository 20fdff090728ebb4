"""The page, plots and tables of a grid of runs; the door is ``writing.write_grid_report``.

reading → naming → dividing → section (runs by strategy, condition, seed) → statistics, comparisons → plots
and tables as records → html, interactive (the page), images (matplotlib), tables (Markdown, LaTeX, terminal).
"""
