"""Users and groups in the console's look. Nobody is deleted: what they did stays theirs; deactivate them.

Whoever may edit users must not thereby become more than they are: permissions are given by superusers alone.
"""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from bfcerts.console.modeladmin import ConsoleAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


def is_superuser(request: HttpRequest) -> bool:
    return bool(getattr(request.user, "is_superuser", False))


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ConsoleAdmin):  # type: ignore[misc,type-arg]  # ours is made from untyped ones
    """The people who work here, and the accounts of integrations."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    ordering = ("username",)
    keyset_field = ""

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> tuple[str, ...]:
        recorded = ("last_login", "date_joined")
        return recorded if is_superuser(request) else (*recorded, "is_superuser", "groups", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        if obj is not None and obj.is_superuser and not is_superuser(request):
            return False
        return bool(super().has_change_permission(request, obj))


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ConsoleAdmin):  # type: ignore[misc]  # as above
    """Named sets of permissions."""

    ordering = ("name",)
    keyset_field = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return is_superuser(request)
