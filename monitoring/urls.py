"""Addresses of the observer under `/api/v1/`."""

from django.urls import path

from monitoring import alert_views, history, registry, traces, views

urlpatterns = [
    path("admin/stats/", views.StatsView.as_view()),
    path("admin/feeds/", views.FeedsView.as_view()),
    path("admin/nodes/", registry.NodesView.as_view()),
    path("admin/history/", history.HistoryView.as_view()),
    path("admin/trace/", traces.TraceView.as_view()),
    path("admin/trace/samples/", traces.TracesView.as_view()),
    path("nodes/best/", registry.BestNodeView.as_view()),
    path("admin/alerts/", alert_views.AlertsView.as_view()),
    path("admin/alert-rules/", alert_views.RulesView.as_view()),
    path("admin/alert-rules/<int:pk>/", alert_views.RuleView.as_view()),
    path("admin/notifiers/", alert_views.NotifiersView.as_view()),
    path("admin/notifiers/<int:pk>/", alert_views.NotifierView.as_view()),
    path("admin/notifiers/<int:pk>/test/", alert_views.NotifierTestView.as_view()),
]
