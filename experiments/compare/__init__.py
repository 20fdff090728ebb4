"""Grids of runs: data sets × models × strategies × attacks × shares × seeds, into one folder of results."""
