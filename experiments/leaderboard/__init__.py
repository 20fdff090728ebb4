"""A fixed, versioned comparison that several machines fill, and its page.

protocol (what is measured) → cells (planned, by key) → claims, work (who computes what) → standing (figures
and ranks) → tables, page.
"""
