"""Addresses of the observer under `/api/v1/`."""

from django.urls import path

from monitoring import history, registry, views

urlpatterns = [
    path("admin/stats/", views.StatsView.as_view()),
    path("admin/feeds/", views.FeedsView.as_view()),
    path("admin/nodes/", registry.NodesView.as_view()),
    path("admin/history/", history.HistoryView.as_view()),
    path("nodes/best/", registry.BestNodeView.as_view()),
]
