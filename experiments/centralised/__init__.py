"""``fedsieve run --centralised``: the same model trained by one program that holds all histories."""

from experiments.centralised.program import CENTRALISED, Program, Recipe, epochs_of, start
from experiments.centralised.run import centralise

__all__ = ["CENTRALISED", "Program", "Recipe", "centralise", "epochs_of", "start"]
