"""The logs of the field as they are published: each raw form, by its name, with its usual preparation."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from common.data import Dataset, load, prepared
from common.errors import DataError
from common.preparation import AS_IT_IS, Preparation

STEAM = [
    r"{u'username': u'Ann', u'product_id': u'10', u'date': u'2017-12-17', u'text': u'It\'s'}",
    "{u'username': u'Bo', u'user_id': u'765', u'product_id': u'20', u'date': u'2017-12-16', u'text': u'x'}",
    """{u'username': u'Ann', u'product_id': u'20', u'date': u'2011-01-02', u'text': u"don't"}""",
]
GOWALLA = (
    "0\t2010-10-19T23:55:27Z\t30.2359091167\t-97.7951395833\t22847\n"
    "0\t2010-10-18T22:17:43Z\t30.2691029532\t-97.7493953705\t420315\n"
    "0\t2010-10-17T23:42:03Z\t30.2691029532\t-97.7493953705\t420315\n"
    "1\t2010-10-17T19:26:05Z\t30.2691029532\t-97.7493953705\t420315\n"
)
YELP = [
    {"review_id": "r1", "user_id": "u1", "business_id": "b1", "stars": 4.0, "date": "2018-07-07 22:09:11"},
    {"review_id": "r2", "user_id": "u1", "business_id": "b2", "stars": 2.0, "date": "2018-07-08 22:09:11"},
    {"review_id": "r3", "user_id": "u1", "business_id": "b1", "stars": 5.0, "date": "2019-07-07 22:09:11"},
]
AMAZON = [
    {
        "reviewerID": "A1",
        "asin": "0439893577",
        "helpful": [0, 0],
        "overall": 5.0,
        "unixReviewTime": 1390953600,
        "reviewTime": "01 29, 2014",
    },
    {
        "reviewerID": "A1",
        "asin": "0486277577",
        "helpful": [1, 1],
        "overall": 4.0,
        "unixReviewTime": 1389657600,
        "reviewTime": "01 14, 2014",
    },
]
RETAIL = (
    "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n"
    "1433224214164,257597,addtocart,248676,\n"
    "1433221999827,257597,view,318965,\n"
    "1433222276276,483717,transaction,253185,4000\n"
)


@pytest.fixture
def folder(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty FEDSIEVE_DATA."""
    place = tmp_path / "data"
    place.mkdir()
    monkeypatch.setenv("FEDSIEVE_DATA", str(place))
    return place


def histories(log: Dataset) -> dict[str, list[str]]:
    rows = zip(log.user_ids, log.sequences, strict=True)
    return {user: [log.item_ids[int(item) - 1] for item in items] for user, items in rows}


def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tiny files pass for the logs whose counts are exact."""
    monkeypatch.setattr("common.data.sources._counted", lambda known, data, path: data)


def test_steam_is_python_dicts_by_user_name(folder: Path) -> None:
    (folder / "steam_reviews.json.gz").write_bytes(gzip.compress("\n".join(STEAM).encode()))
    log = load("steam")
    assert histories(log) == {"Ann": ["20", "10"], "Bo": ["20"]}
    assert log.reading.format.startswith("Python dicts, one a line")
    assert log.times is not None
    assert log.times[1].tolist() == [1513382400.0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{u'username': open('x')}", "line 2: expected one Python dict a line, as the first is"),
        ("[1]", "line 2: expected one Python dict a line, found list"),
        ("{u'username': [1], u'product_id': u'1', u'date': u'2017-01-01'}", "expected text or a number"),
        ("{u'username': True, u'product_id': u'1', u'date': u'2017-01-01'}", "found true"),
    ],
)
def test_a_python_line_that_is_no_dict_of_texts(folder: Path, line: str, told: str) -> None:
    (folder / "steam_reviews.json").write_text(f"{STEAM[0]}\n{line}\n")
    with pytest.raises(DataError, match=told):
        load("steam")


def test_numbers_of_a_python_line(folder: Path) -> None:
    (folder / "steam_reviews.json").write_text("{'username': 7, 'product_id': 10, 'date': 1.5e9}\n")
    log = load("steam")
    assert histories(log) == {"7": ["10"]}


def test_gowalla_by_position_repeats_and_core(folder: Path) -> None:
    (folder / "loc-gowalla_totalCheckins.txt").write_text(GOWALLA)
    assert histories(load("gowalla")) == {"0": ["420315", "420315", "22847"], "1": ["420315"]}
    once = load("gowalla", prepare=Preparation(repeats="drop", min_user=2))
    assert histories(once) == {"0": ["420315", "22847"]}
    assert once.reading.dropped == {"data.repeats": 1, "data.min_user": 1}


def test_yelp_stars_and_dates(folder: Path) -> None:
    (folder / "yelp_academic_dataset_review.json").write_text("".join(json.dumps(one) + "\n" for one in YELP))
    assert histories(load("yelp")) == {"u1": ["b1", "b2", "b1"]}
    assert histories(load("yelp", prepare=Preparation(min_rating=4, repeats="drop"))) == {"u1": ["b1"]}


def test_toys_are_amazon_reviews(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "reviews_Toys_and_Games_5.json.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(one) + "\n" for one in AMAZON).encode()))
    with pytest.raises(DataError, match=r"expected users, items, interactions \(19412, 11924, 167597\)"):
        load("amazon-toys")
    counted(monkeypatch)
    log = load("amazon-toys")
    assert histories(log) == {"A1": ["0486277577", "0439893577"]}
    assert log.reading.columns["time"] == "unixReviewTime"
    assert histories(load("amazon-toys", prepare=Preparation(min_rating=5))) == {"A1": ["0439893577"]}


def test_retailrocket_events(folder: Path) -> None:
    (folder / "events.csv").write_text(RETAIL)
    assert histories(load("retailrocket"))["257597"] == ["355908", "318965", "248676"]
    log = load("retailrocket", prepare=Preparation(events=("addtocart", "transaction")))
    assert histories(log) == {"257597": ["248676"], "483717": ["253185"]}
    assert log.reading.unit == "ms"
    with pytest.raises(DataError, match=r"data\.events: no event 'buy' in the log"):
        load("retailrocket", prepare=Preparation(events=("buy",)))


RATINGS = "userId,movieId,rating,timestamp\n1,2,3.5,1112486027\n1,29,3.5,1112484676\n2,2,0.5,1112484676\n"
MOVIES = 'movieId,title,genres\n2,Jumanji (1995),x\n29,"City of Lost Children, The (1995)",y\n'


def test_ml_20m_from_its_archive_and_unpacked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch)
    (folder / "ratings.csv").write_text(RATINGS)
    (folder / "movies.csv").write_text(MOVIES)
    log = load("ml-20m")
    assert histories(log) == {"1": ["29", "2"], "2": ["2"]}
    assert dict(log.titles) == {1: "Jumanji (1995)", 2: "City of Lost Children, The (1995)"}
    with zipfile.ZipFile(folder / "ml.zip", "w") as out:
        out.writestr("ml-20m/ratings.csv", RATINGS)
        out.writestr("ml-20m/movies.csv", MOVIES)
    from common.data.known import KNOWN

    other = KNOWN["ml-20m"].artifacts[1].read(folder / "ml.zip", AS_IT_IS)
    assert histories(other) == histories(log)
    assert dict(other.titles) == dict(log.titles)


def test_a_large_known_log_is_prepared_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "SMALL", 1)
    path = folder / "loc-gowalla_totalCheckins.txt.gz"
    path.write_bytes(gzip.compress(GOWALLA.encode()))
    first = load("gowalla")
    assert len(list(folder.glob("*.prepared"))) == 1
    assert first.name == "gowalla"
    prepared._OPEN.clear()
    monkeypatch.setattr("common.data.packages.build", None)  # a second reading would fail
    again = load("gowalla")
    assert histories(again) == histories(first)
    assert again.name == "gowalla"
