"""The sign-in page says what is wrong in words that fit whoever reads them."""

from django.contrib import admin
from unfold.forms import AuthenticationForm

_REFUSED = (
    "That user name and password do not belong together, or the account may not use this console. Capitals count in "
    "both; ask an administrator if you are sure of them."
)


class SignInForm(AuthenticationForm):
    """User name and password."""

    error_messages = {"invalid_login": _REFUSED, "inactive": _REFUSED}


admin.site.login_form = SignInForm
