"""`manage.py issue_key`."""

from __future__ import annotations

import io
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.utils import timezone

from realtime.auth import Credentials, forget_principals, resolve
from realtime.limits import forget_plans
from realtime.models import ApiKey

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh() -> None:
    forget_plans()
    forget_principals()


def issue(*arguments: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("issue_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_standard_output_is_the_key_and_nothing_else() -> None:
    out, said = issue("ada", "--create", "--plan", "pro", "--name", "notebook")
    key = out.removesuffix("\n")
    principal = resolve(Credentials(authorization=f"Bearer {key}"))
    assert principal is not None
    assert (principal.name, principal.plan_name, principal.can_publish, principal.is_staff) == ("ada", "pro", False, False)
    assert "ada is on plan pro" in said
    assert key not in said
    assert ApiKey.objects.get().name == "notebook"


def test_a_made_user_has_no_password() -> None:
    issue("ada", "--create")
    assert not User.objects.get(username="ada").has_usable_password()


def test_permissions_are_those_asked_for() -> None:
    out, said = issue("ops", "--create", "--publish", "--staff")
    principal = resolve(Credentials(authorization=f"Bearer {out.strip()}"))
    assert principal is not None
    assert (principal.can_publish, principal.is_staff) == (True, True)
    assert "ops is staff now" in said


def test_days_set_the_end() -> None:
    issue("ada", "--create", "--days", "30")
    ends = ApiKey.objects.get().expires_at
    assert ends is not None
    assert timedelta(days=29.9) < ends - timezone.now() <= timedelta(days=30)


@pytest.mark.parametrize("days", ["0", "-1", "never"])
def test_days_must_be_a_positive_number(days: str) -> None:
    with pytest.raises(CommandError, match="--days"):
        issue("ada", "--create", f"--days={days}")


def test_an_unknown_user_is_an_error_that_names_the_option() -> None:
    with pytest.raises(CommandError, match="'ada'.*--create"):
        issue("ada")


def test_an_unknown_plan_is_an_error_that_names_the_plans_and_changes_nothing() -> None:
    with pytest.raises(CommandError, match="'gold'; there are anonymous, dashboard, free, pro"):
        issue("ada", "--create", "--plan", "gold")
    assert not User.objects.exists()


def test_a_known_user_may_have_several_keys() -> None:
    issue("ada", "--create")
    issue("ada")
    assert ApiKey.objects.filter(user__username="ada").count() == 2
