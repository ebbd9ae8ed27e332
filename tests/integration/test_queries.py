"""Queries are counted where they are sent."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection

from monitoring.queries import Queries


@pytest.mark.django_db
def test_every_query_of_a_connection_counts() -> None:
    counted = Queries()
    counted._opened(connection)
    counted._opened(connection)  # opened again: still counted once
    try:
        list(User.objects.all())
        User.objects.count()
        assert counted.sent == 2
    finally:
        connection.execute_wrappers.remove(counted._count)
