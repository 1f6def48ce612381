"""Where the web process answers."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from bfcerts import doors
from inventory import uploads
from inventory.api.urls import urlpatterns as inventory_api
from migration.api import urlpatterns as migration_api
from provisioning.api import urlpatterns as provisioning_api
from provisioning.pools.api import urlpatterns as pool_api
from provisioning.pools.http.urls import urlpatterns as pools
from trustanchors.api.urls import urlpatterns as trust_anchor_api

handler400 = "bfcerts.doors.bad_request"
handler403 = "bfcerts.doors.forbidden"
handler404 = "bfcerts.doors.not_found"
handler500 = "bfcerts.doors.server_error"

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="root"),
    path("healthz", doors.healthz, name="healthz"),
    path("readyz", doors.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("upload/<str:token>", uploads.upload, name="upload"),
    path("upload/<str:token>/<str:file_name>", uploads.upload, name="upload-named"),
    path("api/v1/", include((inventory_api + migration_api + pool_api + provisioning_api + trust_anchor_api, "api"))),
    path(f"{settings.CONFIGURATION.pools_path}/", include((pools, "pools"))),
]
