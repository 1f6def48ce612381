"""What the pages of a migration share: facts with verbs beside them."""

from bfcerts.console.modeladmin import ReadOnlyAdmin
from inventory.admin.actions import PageWithActions
from inventory.admin.verbs import Verb, Verbs


class ActingAdmin(PageWithActions, ReadOnlyAdmin):
    """A page with facts, and verbs beside them."""

    change_form_template = "admin/console/read_only_with_actions.html"


def verbs_of(*verbs: Verb) -> Verbs:
    """These verbs, by their names."""
    made = Verbs()
    for verb in verbs:
        made.register(verb)
    return made
