"""What the observer keeps at rest: how the installation fared."""

from django.db import models


class Rollup(models.Model):
    """The overview's series over a second or a minute; see `monitoring.rollups`."""

    step_s = models.PositiveSmallIntegerField()
    at = models.PositiveBigIntegerField(help_text="When it began, seconds since the Unix epoch.")
    values = models.JSONField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["step_s", "at"], name="one_rollup_per_moment")]

    def __str__(self) -> str:
        return f"{self.step_s} s from {self.at}"
