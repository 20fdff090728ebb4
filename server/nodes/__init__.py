"""Which nodes there are and what each may stand for."""
