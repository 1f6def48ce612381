"""Users and groups: made and deactivated in the console, and nobody gives themselves more than they have."""

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from tests.admin import given

pytestmark = pytest.mark.django_db
CLERK = (
    "auth.view_user",
    "auth.add_user",
    "auth.change_user",
    "auth.change_group",
    "auth.add_group",
    "auth.view_group",
)


def page(user: User) -> str:
    return reverse("admin:auth_user_change", args=[user.pk])


def clerk() -> tuple[User, Client]:
    """Somebody who keeps the accounts, and is no superuser."""
    user = given.person("clerk", *CLERK)
    client = Client()
    client.force_login(user)
    return user, client


def test_a_user_is_added_and_deactivated(console: Client) -> None:
    typed = {
        "username": "new",
        "password1": "correct-horse-9",
        "password2": "correct-horse-9",
        "usable_password": "true",
    }
    assert console.post(reverse("admin:auth_user_add"), typed).status_code == 302
    user = User.objects.get(username="new")

    response = console.post(page(user), {"username": "new", "is_staff": "on"})

    assert response.status_code == 302
    user.refresh_from_db()
    assert (user.is_active, user.is_staff) == (False, True)


def test_whoever_keeps_the_accounts_gives_themselves_nothing() -> None:
    user, client = clerk()
    everything = Group.objects.create(name="Everything")
    typed = {
        "username": "clerk",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [everything.pk],
        "user_permissions": [1, 2, 3],
    }

    assert client.post(page(user), typed).status_code == 302

    user.refresh_from_db()
    assert not user.is_superuser
    assert not user.groups.exists()
    assert user.user_permissions.count() == len(CLERK)
    group = reverse("admin:auth_group_change", args=[everything.pk])
    assert client.post(group, {"name": "Everything", "permissions": [1]}).status_code == 403
    assert client.post(reverse("admin:auth_group_add"), {"name": "Mine"}).status_code == 403


def test_whoever_keeps_the_accounts_cannot_take_over_a_superuser() -> None:
    _, client = clerk()
    boss = given.administrator("boss")

    changed = client.post(page(boss), {"username": "boss", "email": "clerk@example.net"})
    typed = {"password1": "correct-horse-9", "password2": "correct-horse-9", "usable_password": "true"}
    password = client.post(reverse("admin:auth_user_password_change", args=[boss.pk]), typed)

    assert (changed.status_code, password.status_code) == (403, 403)
    boss.refresh_from_db()
    assert boss.check_password(given.PASSWORD)
