"""What tests of the admin share."""

from __future__ import annotations

import re
from typing import Any

from django.contrib.auth.models import Group, User
from django.test import Client

ACTION = "_selected_action"


def superuser(name: str = "operator") -> Client:
    """A browser in which somebody who may do everything is logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser(name))
    return client


def member(role: str) -> Client:
    """A browser of somebody with that role."""
    user = User.objects.create_user(role, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client()
    client.force_login(user)
    return client


def shown(answer: Any) -> str:
    """The page's text without its tags."""
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.content.decode()))


def complaints(answer: Any) -> Any:
    """The errors of the form that was refused, by field."""
    return answer.context["adminform"].form.errors
