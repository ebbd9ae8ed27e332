"""Addresses of the observer under `/api/v1/`."""

from django.urls import path

from monitoring import views

urlpatterns = [
    path("admin/stats/", views.StatsView.as_view()),
    path("admin/feeds/", views.FeedsView.as_view()),
]
