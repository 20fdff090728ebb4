"""Settings of the log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from common.config.fields import Count, Positive, Section
from common.preparation import Preparation, check_columns, check_encoding


class DataConfig(Section):
    """Which log; ``path`` reads any file instead of a known name."""

    name: str = Field("ml-100k", description="a log that is known by name, see `fedsieve list datasets`")
    path: str = Field("", description="a file to read instead")
    max_devices: Count = Field(0, description="keep only the first devices; 0 keeps all")
    max_length: Count = Field(0, description="keep only the last interactions of each device; 0 keeps all")
    public: Positive = Field(64, description="histories of an emulation that its trusted node holds too")
    columns: dict[str, Annotated[int, Field(strict=True)] | str] = Field(
        {}, description="names of the columns user, item, time, rating, event; or positions, without a header"
    )
    order: Literal["time", "file"] = Field(
        "time", description="of a history: by the time column, or `file`: as the file has it, without times"
    )
    encoding: str = Field("auto", description="of a text file; auto: UTF-8, or UTF-16 with a mark")
    events: tuple[str, ...] = Field((), description="kinds of events that are kept; empty keeps all")
    min_rating: float = Field(0.0, description="drop ratings below it; 0 keeps all")
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="interactions of one user and item at one time, after the first"
    )
    repeats: Literal["keep", "drop"] = Field(
        "keep", description="interactions with an item that the user had before"
    )
    min_user: Count = Field(
        0, description="drop users with fewer interactions, with min_item until none falls"
    )
    min_item: Count = Field(
        0, description="drop items with fewer interactions, with min_user until none falls"
    )

    @field_validator("order")
    @classmethod
    def _of_columns(cls, order: Literal["time", "file"], others: ValidationInfo) -> str:
        check_columns(others.data.get("columns", {}), order)
        return order

    @field_validator("columns")
    @classmethod
    def _columns(cls, columns: dict[str, int | str]) -> dict[str, int | str]:
        check_columns(columns)
        return columns

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        check_encoding(encoding)
        return encoding

    @property
    def preparation(self) -> Preparation:
        """How the log is read."""
        return Preparation(
            columns=tuple(sorted(self.columns.items())),
            order=self.order,
            encoding=self.encoding,
            events=self.events,
            min_rating=self.min_rating,
            duplicates=self.duplicates,
            repeats=self.repeats,
            min_user=self.min_user,
            min_item=self.min_item,
        )
