"""What every kind of feed does with its options: read them into the struct that declares them, refuse the rest by name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from marketdata.errors import BadFeedOptions
from marketdata.feeds import Listing

Declared = TypeVar("Declared", bound=msgspec.Struct)
Decimals = Annotated[int, msgspec.Meta(ge=0, le=18)]

_AT = re.compile(r"(?P<wrong>.*) - at `\$\.(?P<option>\w+).*`", re.DOTALL)
_FIELD = re.compile(r"Object (?P<wrong>missing required|contains unknown) field `(?P<option>\w*)`")


class ListingOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator knows better about an instrument than the feed; see `Listing` for the meaning of each."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    kind: Literal["stock", "crypto", "index", "fund", "future"] | msgspec.UnsetType = msgspec.UNSET
    venue: str | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET
    price_decimals: Decimals | msgspec.UnsetType = msgspec.UNSET
    size_decimals: Decimals | msgspec.UnsetType = msgspec.UNSET
    session: Literal["always", "us", "cn"] | msgspec.UnsetType = msgspec.UNSET
    simulated: bool | msgspec.UnsetType = msgspec.UNSET


Listings = dict[str, ListingOptions]  # symbol, or "*" for all


def read_options(kind: type[Declared], options: Mapping[str, Any]) -> Declared:
    """Read options as the struct that declares them.

    Raises:
        BadFeedOptions: an option is unknown, missing, of the wrong type or out of bounds; the message begins with its name.
    """
    try:
        return msgspec.convert(dict(options), kind)
    except msgspec.ValidationError as error:
        raise BadFeedOptions(_named(str(error))) from None


def _named(message: str) -> str:
    if found := _AT.fullmatch(message):
        return f"{found['option']}: {found['wrong']}"
    if found := _FIELD.fullmatch(message):
        return f"{found['option']}: {'is required' if 'missing' in found['wrong'] else 'no such option'}"
    return message


def corrected(found: Sequence[Listing], corrections: Listings) -> list[Listing]:
    """The listings with the operator's `"*"` corrections, then those of their own symbol."""
    return [_correct(_correct(listing, corrections.get("*")), corrections.get(listing.symbol)) for listing in found]


def _correct(listing: Listing, better: ListingOptions | None) -> Listing:
    known = msgspec.structs.asdict(better) if better else {}
    return dataclasses.replace(listing, **{name: value for name, value in known.items() if value is not msgspec.UNSET})
