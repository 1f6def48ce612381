"""The console's look: django-unfold's settings. Every asset is our own or unfold's; none is of another host."""

from typing import Any

from django.templatetags.static import static

TITLE = "Certificate control plane"

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": TITLE,
    "SITE_HEADER": TITLE,
    "SITE_SUBHEADER": "Charging fleet trust",
    "SITE_URL": None,
    "SITE_SYMBOL": "verified_user",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/mark.svg")},
    ],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "BORDER_RADIUS": "8px",
    "STYLES": [lambda request: static("console/console.css")],
    "SCRIPTS": [lambda request: static("console/console.js")],
    "COLORS": {
        "primary": {
            "50": "oklch(97.8% .014 220)",
            "100": "oklch(94.6% .030 220)",
            "200": "oklch(89.2% .055 220)",
            "300": "oklch(81.5% .085 220)",
            "400": "oklch(72.0% .105 222)",
            "500": "oklch(60.5% .105 225)",
            "600": "oklch(50.5% .095 228)",
            "700": "oklch(43.5% .082 230)",
            "800": "oklch(37.5% .068 232)",
            "900": "oklch(32.0% .055 234)",
            "950": "oklch(24.0% .042 236)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "bfcerts.console.navigation.sidebar",
    },
    "COMMAND": {"search_callback": "inventory.admin.palette.identities"},
    "DASHBOARD_CALLBACK": "inventory.admin.overview.add_overview",
}
