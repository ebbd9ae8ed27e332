"""Django's settings, derived from `project.config`; no other file reads the environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dj_database_url

from monitoring import logs
from project import config as _config
from project import headers, transport
from project.data_dir import DATABASE

BASE_DIR = Path(__file__).resolve().parent.parent

try:
    TICKWIRE = _config.load()
    _config.prepare_data_dir(TICKWIRE)
    SECRET_KEY = TICKWIRE.secret_key
except _config.BadSetting as error:
    sys.exit(f"tickwire: bad setting: {error}")

DEBUG = TICKWIRE.site.debug
ALLOWED_HOSTS = TICKWIRE.site.allowed_hosts
CSRF_TRUSTED_ORIGINS = TICKWIRE.site.trusted_origins

INSTALLED_APPS = [
    *(["daphne"] if "runserver" in sys.argv[1:2] else []),  # its ASGI server; elsewhere it only slows the start
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "marketdata",
    "realtime",
    "monitoring",
    "project",
]

MIDDLEWARE = [
    "project.requests.correlated",  # first: all that is logged for a request has its name
    "project.headers.restricting",
    "django.middleware.security.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "project.slashes.Slashes",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def _database() -> dict[str, object]:
    url = TICKWIRE.site.database_url
    if url.startswith("postgres"):
        database: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=0)}
        # A pool, because under ASGI a kept connection would die with its request's thread.
        database["OPTIONS"] = {**(database.get("OPTIONS") or {}), "pool": {"min_size": 1, "max_size": 8}}
        return database
    database = {**dj_database_url.parse(url)} if url else {"NAME": str(TICKWIRE.data_dir / DATABASE)}
    return {
        **database,
        "ENGINE": "django.db.backends.sqlite3",
        "OPTIONS": {
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000",
            "transaction_mode": "IMMEDIATE",
        },
    }


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "marketdata.layer.BusLayer",
        "CONFIG": {"url": TICKWIRE.redis_url, "prefix": TICKWIRE.bus.prefix},
    }
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["realtime.auth.RestAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAdminUser"],  # a view opens itself, never by omission
    "DEFAULT_THROTTLE_CLASSES": ["realtime.throttles.PlanThrottle"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "project.errors.rest_exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Tickwire",
    "DESCRIPTION": "Market data: the same values that the WebSocket carries, as snapshots and history.\n\n"
    "Visitors may try what the plan for them includes. *Authorize* takes an API key; or [log in](/login/), come back, and ask as "
    "yourself: that is also how you make a key, with `POST /api/v1/keys/`.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "project.openapi.complete"],
}

CELERY_BROKER_URL = TICKWIRE.broker_url

AUTHENTICATION_BACKENDS = ["realtime.logins.AccountBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
FORMAT_MODULE_PATH = "project.formats"

STATIC_URL = "static/"
STATIC_ROOT = TICKWIRE.data_dir / "static"
STATICFILES_DIRS = [
    BASE_DIR / "static",
    ("tickwire", BASE_DIR / "clients" / "js" / "src"),
    *(
        (f"vendor/{name}", folder)
        for name, folder in {
            "lightweight-charts": BASE_DIR / "node_modules" / "lightweight-charts" / "dist",
            "uplot": BASE_DIR / "node_modules" / "uplot" / "dist",
        }.items()
        if folder.is_dir()
    ),
]
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = DEBUG
SERVESTATIC_ALLOW_ALL_ORIGINS = False

X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": headers.CONTENT_SECURITY}

HTTPS = TICKWIRE.site.https
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = transport.HSTS_S if HTTPS else 0
SECURE_REDIRECT_EXEMPT = transport.BEHIND_THE_PROXY
SILENCED_SYSTEM_CHECKS = transport.silenced(ALLOWED_HOSTS, https=HTTPS)
SESSION_ENGINE = "project.browser_sessions"
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"

DEFAULT_EXCEPTION_REPORTER_FILTER = "project.errors.Reports"
LOGGING_CONFIG = "monitoring.logs.configure"
LOGGING = logs.settings_for(TICKWIRE.site.log_level, TICKWIRE.observing.log_format, TICKWIRE.observing.log_repeats)
