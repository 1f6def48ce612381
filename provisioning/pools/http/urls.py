"""The addresses of the pools, as OPCP 1.0 has them."""

from django.urls import path

from provisioning.pools.http import contract_pool, provisioning_pool, root_pool, webhooks
from provisioning.pools.http.door import door

urlpatterns = [
    path("v1/ccp/signedContractData", door(post=contract_pool.get_signed, put=contract_pool.publish)),
    path(
        "v1/ccp/signedContractData/<str:identifier>",
        door(delete=contract_pool.delete, get=contract_pool.list_of_vehicle),
    ),
    path("v1/ccp/signedContractData/<str:pcid>/<str:emaid>/default", door(post=contract_pool.set_default)),
    path("v1/ccp/provideSignedContractData/<str:emaid>/<str:pcid>", door(get=contract_pool.provide)),
    path("v1/ccp/lookupContract/<str:emaid>", door(get=contract_pool.look_up)),
    path("v1/oem/provCerts", door(put=provisioning_pool.publish)),
    path("v1/oem/provCerts/lookupVehicle/<str:pcid>", door(get=provisioning_pool.look_up)),
    path("v1/oem/provCerts/<str:pcid>", door(get=provisioning_pool.get, delete=provisioning_pool.delete)),
    path("v1/root/rootCerts", door(get=root_pool.listing, put=root_pool.add)),
    path("v1/root/rootCerts/<str:root_id>", door(get=root_pool.get, delete=root_pool.remove)),
    path("v1/webhook/endpoints", door(post=webhooks.create, get=webhooks.listing)),
    path(
        "v1/webhook/endpoints/<str:webhook_id>",
        door(get=webhooks.get, put=webhooks.update, delete=webhooks.delete),
    ),
]
