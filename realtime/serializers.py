"""What REST answers about whoever asks."""

from __future__ import annotations

import msgspec

from realtime.limits import Limits


class Me(msgspec.Struct, frozen=True):
    """The one who asks: `user` is null for visitors, `key` is the prefix of the API key that was shown."""

    user: str | None
    key: str | None
    plan: str
    limits: Limits
    can_publish: bool
    is_staff: bool
