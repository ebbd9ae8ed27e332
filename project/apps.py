"""Django application of the wiring: it holds the commands that start the whole."""

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Commands that know everybody."""

    name = "project"
    verbose_name = "Tickwire"
