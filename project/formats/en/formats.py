"""Times of the admin as the audit log, the log lines and REST have them: year first, to the second, and with their zone."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = r"Y-m-d H:i:s \U\T\C"  # TIME_ZONE is UTC, and no page activates another
