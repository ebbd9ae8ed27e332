"""Peer: latest values over REST as the documentation of Django and REST framework writes it: a table, a serializer, a token.

Run as a program it makes its database, with 1000 quotes, and prints the token.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

TOPICS = 1000

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.environ['PEER_HOME']}/peer.sqlite3"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "rest_framework.authtoken"],
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    ROOT_URLCONF=__name__,
    SECRET_KEY="benchmark",  # noqa: S106
    USE_TZ=True,
)
django.setup()

from django.db import connection, models  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework import authentication, permissions, serializers  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402


class Latest(models.Model):
    """The latest quote of a topic."""

    topic = models.CharField(max_length=64, unique=True)
    epoch = models.CharField(max_length=6)
    seq = models.BigIntegerField()
    stale = models.BooleanField(default=False)
    symbol = models.CharField(max_length=32)
    ts = models.BigIntegerField()
    bid = models.CharField(max_length=50)
    bid_size = models.CharField(max_length=50)
    ask = models.CharField(max_length=50)
    ask_size = models.CharField(max_length=50)

    class Meta:
        app_label = "peer"


class Quote(serializers.ModelSerializer[Latest]):
    """The body."""

    class Meta:
        model = Latest
        fields: ClassVar = ["symbol", "ts", "bid", "bid_size", "ask", "ask_size"]


class Snapshot(serializers.ModelSerializer[Latest]):
    """One topic with its body."""

    data = Quote(source="*")

    class Meta:
        model = Latest
        fields: ClassVar = ["topic", "epoch", "seq", "stale", "data"]


class Snapshots(APIView):
    """The view."""

    authentication_classes: ClassVar = [authentication.TokenAuthentication]
    permission_classes: ClassVar = [permissions.IsAuthenticated]

    def get(self, request: Request) -> Response:
        """Those that were asked for."""
        rows = Latest.objects.filter(topic__in=request.query_params["topics"].split(","))
        return Response({"snapshots": Snapshot(rows, many=True).data, "rejected": []})


urlpatterns = [path("api/v1/snapshots/", Snapshots.as_view())]
application: Any = get_asgi_application()
wsgi: Any = get_wsgi_application()


def main() -> None:
    """Make the database."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from rest_framework.authtoken.models import Token

    from benchmarks.source import quote

    call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Latest)
    rows = [(f"quote.S{number:04d}", quote(f"S{number:04d}")) for number in range(TOPICS)]
    Latest.objects.bulk_create(Latest(topic=topic, epoch="abc123", seq=1, **fields) for topic, fields in rows)
    print(Token.objects.create(user=User.objects.create_user("bench")).key)


if __name__ == "__main__":
    main()
