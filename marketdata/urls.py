"""Addresses of market data under `/api/v1/`."""

from django.urls import path

from marketdata import views

urlpatterns = [
    path("instruments/", views.InstrumentsView.as_view()),
    path("instruments/<str:symbol>/", views.InstrumentView.as_view()),
    path("snapshots/", views.SnapshotsView.as_view()),
    path("quotes/", views.QuotesView.as_view()),
    path("quotes/<str:symbol>/", views.QuoteView.as_view()),
    path("tickers/", views.TickersView.as_view()),
    path("tickers/<str:symbol>/", views.TickerView.as_view()),
    path("depth/<str:symbol>/", views.DepthView.as_view()),
    path("trades/<str:symbol>/", views.TradesView.as_view()),
    path("klines/<str:symbol>/", views.KlinesView.as_view()),
    path("topics/<str:topic>/history/", views.HistoryView.as_view()),
    path("ingest/", views.IngestView.as_view()),
]
