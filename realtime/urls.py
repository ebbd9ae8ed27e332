"""Addresses of accounts and keys under `/api/v1/`."""

from django.urls import path

from realtime import views

urlpatterns = [
    path("me/", views.MeView.as_view()),
]
