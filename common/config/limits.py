"""The largest settings that are taken."""

# Nodes take settings from a server that they need not trust, and tools from files: what no study comes near,
# or no machine holds, is refused before anything is built.
MAX_DIM, MAX_LEN, MAX_BLOCKS, MAX_HEADS = 2048, 2048, 64, 32
MAX_PARAMETERS = 2**26
"""Of an encoder: 256 MiB of float32, a thousand times the default."""
MAX_ROUNDS = 10**7
MAX_DEVICES = 2**20
"""In one round: the server holds an update of each."""
MAX_STEPS = 500
"""Of one device in one round. More is minutes of its time, and another protocol."""
MAX_SLICE = 2**20
"""A device scores each of these items at every position: 4 MiB a position."""
MAX_SLICES = 256
"""Of one round: a device sends the number of its own in a byte."""
MAX_NEGATIVES = 2**16
"""A device gathers a row for each: 16 MiB at the default dim. So with decoys."""
MAX_BOOKS, MAX_CODE_ROWS = 16, 65521
"""Of a table of code rows, all of which a device sends: a million rows in the extreme."""
MAX_REGULARISERS = 16
"""There are fewer; each may run the model again."""
