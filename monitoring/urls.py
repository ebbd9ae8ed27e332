"""Addresses of the observer under `/api/v1/`."""

from django.urls import path

from monitoring import registry, traces, views

urlpatterns = [
    path("admin/stats/", views.StatsView.as_view()),
    path("admin/feeds/", views.FeedsView.as_view()),
    path("admin/nodes/", registry.NodesView.as_view()),
    path("admin/trace/", traces.TraceView.as_view()),
    path("admin/trace/samples/", traces.TracesView.as_view()),
    path("nodes/best/", registry.BestNodeView.as_view()),
]
