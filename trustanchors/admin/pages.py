"""Pages of what is entered once and never changed."""

from typing import Any, ClassVar

from django.db.models import Model
from django.http import HttpRequest

from inventory.admin.editing import EditableAdmin


class WrittenOnce(EditableAdmin):
    """One form to add an object, and afterwards its facts."""

    add_fieldsets: ClassVar[Any]

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.readonly_fields if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False
