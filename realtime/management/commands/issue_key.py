"""Issues an API key and prints it, once."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from realtime.keys import create_key
from realtime.models import Account, Plan
from realtime.rights import DISCONNECT, DRAIN, PUBLISH, TAP, grant


class Command(BaseCommand):
    """`manage.py issue_key`: the key alone goes to standard output, everything said about it to standard error."""

    help = "Issue an API key for a user. Prints the key alone on standard output; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("username")
        parser.add_argument("--create", action="store_true", help="make the user if there is none (without a password)")
        parser.add_argument("--plan", metavar="NAME", help="put the user onto this plan")
        parser.add_argument("--publish", action="store_true", help="the key may publish ticks; gives its user the permission")
        parser.add_argument("--staff", action="store_true", help="the key may use the staff endpoints; makes its user staff")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument("--days", type=_days, metavar="N", help="the key ends after N days")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """Issue it.

        Raises:
            CommandError: no such user or plan.
        """
        user = self._user(options["username"], options["create"])
        if options["plan"]:
            self._set_plan(user, options["plan"])
        if options["staff"] and not user.is_staff:
            user.is_staff = True
            user.save(update_fields=["is_staff"])
            for permission in (DISCONNECT, DRAIN, TAP):
                grant(user, permission)
            self._say(f"{user} is staff now, and may end connections, look on at them and drain processes.")
        if options["publish"] and not user.has_perm(PUBLISH):
            grant(user, PUBLISH)
            self._say(f"{user} may publish now.")
        ends = options["days"] and timezone.now() + timedelta(days=options["days"])
        row, key = create_key(
            user, options["name"], can_publish=options["publish"], is_staff=options["staff"], expires_at=ends or None
        )
        self._say(f"Key {row.prefix} of {user}{f', until {ends:%Y-%m-%d %H:%M} UTC' if ends else ''}. It is not shown again:")
        self.stdout.write(key)

    def _user(self, username: str, create: bool) -> User:
        user = User.objects.filter(username=username).first()
        if user:
            return user
        if not create:
            raise CommandError(f"there is no user {username!r}; add --create to make one")
        user = User.objects.create_user(username)
        self._say(f"User {user} made, without a password.")
        return user

    def _set_plan(self, user: User, name: str) -> None:
        plan = Plan.objects.filter(name=name).first()
        if plan is None:
            names = ", ".join(Plan.objects.values_list("name", flat=True))
            raise CommandError(f"there is no plan {name!r}; there are {names}")
        Account.objects.update_or_create(user=user, defaults={"plan": plan})
        self._say(f"{user} is on plan {plan}.")

    def _say(self, text: str) -> None:
        self.stderr.write(text)


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 36_500:
        raise argparse.ArgumentTypeError("must be between 1 and 36500")
    return days
