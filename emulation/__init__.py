"""A whole federation in this process, and what only one process knows: who is malicious."""
