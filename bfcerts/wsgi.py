"""The web process's WSGI application: admin and API."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bfcerts.settings")
application = get_wsgi_application()
