"""Failed logins, by address and by user name: who fails too often is refused, while the owner of a name gets in from elsewhere.

Rules of this file:
1. An address that fails twenty times in a minute is refused for a minute whatever it shows. The password is not looked at: to
   hash it takes longer than anything else that a stranger can ask for.
2. A name at which a hundred logins fail in an hour, from wherever they come, is for an hour closed to addresses that have failed
   within the last minute, and open to all others. Its owner is not locked out, and who guesses from many addresses has one
   guess a minute from each.
3. A name counts whether or not there is such a user, so that a refusal tells nothing. Each process counts for itself, as
   `guesses` does for credentials; the two do not add up, so that a program with an old key locks nobody out of the admin.
"""

from __future__ import annotations

import math
from typing import Any

from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.backends import BaseBackend, ModelBackend
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest

from realtime.guesses import Guesses, network
from realtime.keys import digest

MOST_OF_NAME = 100
NAME_S = 3600.0


class Logins:
    """Counts failed logins. Safe among threads.

    Args:
        addresses, names: the two counts.

    Attributes:
        refused: how many attempts were, unseen.
    """

    def __init__(self, addresses: Guesses, names: Guesses) -> None:
        self.refused = 0
        self._addresses = addresses
        self._names = names

    def wait_s(self, address: str, name: str) -> float:
        """For how long that name is refused from there; 0.0: it is not."""
        place = network(address)
        if wait_s := self._addresses.wait_s(place):
            return wait_s
        return self._addresses.forgiven_s(place) if self._names.wait_s(digest(name)) else 0.0

    def refuse(self, address: str, name: str) -> None:
        """Refuse an attempt before its password is looked at.

        Raises:
            PermissionDenied: too many failed before it.
        """
        if self.wait_s(address, name):
            self.refused += 1
            raise PermissionDenied

    def failed(self, address: str, name: str) -> None:
        """A password was wrong, or there is no such user."""
        self._addresses.failed(network(address))
        self._names.failed(digest(name))

    def forget(self) -> None:
        """Begin anew."""
        self._addresses.forget()
        self._names.forget()


logins = Logins(Guesses(), Guesses(most_bad=MOST_OF_NAME, within_s=NAME_S, refused_s=NAME_S))


def address_of(request: HttpRequest) -> str:
    """Where an attempt comes from."""
    return str(request.META.get("REMOTE_ADDR", ""))


class AccountBackend(ModelBackend):
    """Django's own backend, which looks at no password of who failed too often.

    A session's user is read together with account and plan: one query instead of three.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **more: Any
    ) -> User | None:
        """The active user of that name and password.

        Raises:
            PermissionDenied: too many failed before.
        """
        if request is None or username is None or password is None:
            return super().authenticate(request, username, password, **more)
        address = address_of(request)
        logins.refuse(address, username)
        user = super().authenticate(request, username, password, **more)
        if user is None:
            logins.failed(address, username)
        return user

    aauthenticate = BaseBackend.aauthenticate  # type: ignore[assignment]  # the above in a thread; Django's would go past it

    def get_user(self, user_id: int) -> User | None:
        """The active user of that id."""
        user = User.objects.select_related("account__plan").filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None


class UserLoginForm(AuthenticationForm):
    """The form at `/login/`, for every user; it says so when the password was not looked at."""

    def get_invalid_login_error(self) -> ValidationError:
        """What is shown instead of what was wanted."""
        wait_s = logins.wait_s(address_of(self.request), self.cleaned_data.get("username", "")) if self.request else 0.0
        if not wait_s:
            return super().get_invalid_login_error()
        text = "Too many failed logins. No password is looked at before %(seconds)d seconds have passed; then try again."
        return ValidationError(text, code="too_many", params={"seconds": math.ceil(wait_s)})


class LoginForm(AdminAuthenticationForm, UserLoginForm):
    """The admin's form, for staff."""
