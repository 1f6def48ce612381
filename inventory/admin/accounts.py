"""Users and groups in the console's look. Nobody is deleted: what they did stays theirs; deactivate them."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from bfcerts.console.modeladmin import ConsoleAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(ConsoleAdmin, DjangoUserAdmin):  # type: ignore[misc,type-arg]
    """The people who work here, and the accounts of integrations."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "email", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser")
    ordering = ("username",)
    keyset_field = ""


@admin.register(Group)
class GroupAdmin(ConsoleAdmin, DjangoGroupAdmin):  # type: ignore[misc]
    """Named sets of permissions."""

    ordering = ("name",)
    keyset_field = ""
