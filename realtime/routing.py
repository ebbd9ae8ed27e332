"""Paths of the sockets."""

from django.urls import path

from realtime.consumers import MarketConsumer

websocket_urlpatterns = [path("ws/v1/market", MarketConsumer.as_asgi())]
