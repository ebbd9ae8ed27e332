"""Path of the monitor's socket."""

from django.urls import path

from monitoring.consumers import MonitorConsumer

websocket_urlpatterns = [path("ws/v1/monitor", MonitorConsumer.as_asgi())]
