"""Addresses of accounts and keys under `/api/v1/`."""

from django.urls import path

from realtime import operations, own_keys, own_usage, tapping, views

urlpatterns = [
    path("auth/ticket/", views.TicketView.as_view()),
    path("auth/ticket", views.TicketView.as_view(schema=None)),  # not described twice; scripts that do not go where they are sent
    path("keys/", own_keys.KeysView.as_view()),
    path("keys/<slug:prefix>/", own_keys.KeyView.as_view()),
    path("me/", views.MeView.as_view()),
    path("me/limits/", views.MeLimitsView.as_view()),
    path("me/usage/", own_usage.UsageView.as_view()),
    path("me/connections/", operations.OwnConnectionsView.as_view()),
    path("admin/connections/", operations.ConnectionsView.as_view()),
    path("admin/connections/<str:session>/", operations.ConnectionView.as_view()),
    path("admin/topics/", operations.TopicsView.as_view()),
    path("admin/taps/", tapping.TapsView.as_view()),
    path("admin/taps/<str:tap>/", tapping.TapView.as_view()),
    path("admin/nodes/<str:node>/drain/", operations.DrainView.as_view()),
]
