"""What the columns of a leaderboard mean, and how their numbers are written."""

from __future__ import annotations

from experiments.report.tables import Column

WHERE = {
    "Log": "The log, or all of them.",
    "Model": "The recommender that is trained, or all of them.",
    "Malicious": "Share of all devices that are malicious, or all shares.",
}
PLACES = ("Place", "Place, last", "Exposure place", "Exposure place, last")
FIGURES = {
    "Place": (
        "First place by the accuracy kept at worst that the seeds allow: 1 + the rules that are "
        "certainly better. Rules whose intervals overlap share it. –: three whole seeds are not there "
        "yet."
    ),
    "Place, last": "Last place by the accuracy kept at worst that the seeds allow.",
    "Exposure place": "The same by the exposure beyond parity at worst.",
    "Exposure place, last": "Last place by the exposure beyond parity.",
    "Kept, worst": (
        "NDCG@10 under the attack that leaves least, as a share of what the plain mean reaches without "
        "an attack on the same log, share and seed."
    ),
    "Worst attack": "That attack.",
    "Kept, mean": "The same, mean over the attacks.",
    "Beyond parity, worst": (
        "ER@10 of the promoted item less what it is when each malicious device adds one honest "
        "interaction instead, under the attack that gains most. Above 0, cheating pays."
    ),
    "Attack that gains most": "That attack.",
    "Beyond parity, mean": "The same, mean over the attacks that promote an item.",
    "Lost without attack": (
        "1 − NDCG@10 without an attack, as a share of the plain mean's: what the rule costs when all "
        "are honest."
    ),
    "NDCG@10 clean": "NDCG@10 without an attack: full ranking, test items, seen items left out.",
    "Server ms": (
        "Milliseconds that the server works on a round: admission and the rule, without training and "
        "waiting. Machines differ: compare within a log."
    ),
}
COUNTS = {
    "Seeds": (
        "Seeds on which every cell of the row is done; its figures are over these. 0: figures so far, "
        "over what there is, without a place."
    ),
    "Done": "Finished cells.",
    "Open": "Cells that nobody has finished yet, failed ones among them.",
    "Command": (
        "What computes the open cells of the row. It may be stopped, repeated, and run on several "
        "machines at once."
    ),
}
BOARD = {"Rule": "The rule that combines the updates.", **WHERE, **FIGURES, **COUNTS}
BY_ATTACK = {
    "Rule": "The rule.",
    "Log": "The log.",
    "Model": "The recommender that is trained.",
    "Malicious": "Share of all devices that are malicious.",
    "Attack": (
        "What malicious devices do. control: nothing. parity: one honest interaction with the target."
    ),
    "State": "done, in work (claimed by a machine), failed, part (some seeds), or open.",
    "NDCG@10": "Full ranking, test items, seen items left out.",
    "Kept": "The same as a share of the plain mean's without an attack.",
    "ER@10": "Share of honest users without the target in their history who get it in their top 10.",
    "Beyond parity": "ER@10 less that of parity under the same rule.",
    **{name: COUNTS[name] for name in ("Done", "Open", "Command")},
}
PUBLISHED = {
    "Log": "The log.",
    "Model": "The model.",
    "Metric": "On test items.",
    "As published": "The number that is reported.",
    "As measured here": "The plain mean without an attack, federated, with this protocol's short budget.",
    "How": "How the published number was measured.",
    "Source": "Who reports it.",
}


def board_columns() -> list[Column]:
    """Those of the tables with a row a rule."""
    forms = {"Rule": Column("Rule", choose=True), **{name: Column(name, choose=True) for name in WHERE}}
    forms |= {name: Column(name, "d") for name in (*PLACES, "Seeds", "Done", "Open")}
    forms |= {name: Column(name, ".3f") for name in ("Kept, worst", "Kept, mean", "Lost without attack")}
    forms |= {name: Column(name, "+.3f") for name in ("Beyond parity, worst", "Beyond parity, mean")}
    forms["Server ms"] = Column("Server ms", ".1f")
    return [forms.get(name, Column(name)) for name in BOARD]
