"""Django application of the wiring: it holds the commands that start the whole."""

import sys

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """Commands that know everybody."""

    name = "project"
    verbose_name = "Tickwire"

    def ready(self) -> None:
        """Trace and report errors where the settings say so."""
        from django.conf import settings

        from monitoring.logs import role_of
        from project import observing

        observing.start(settings.TICKWIRE.observing, role_of(sys.argv))
