"""Errors and health: in our look, in words, and never with a traceback."""

from html import unescape

import pytest
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from bfcerts import doors
from bfcerts.urls import handler400, handler403, handler404, handler500
from bfcerts.urls import urlpatterns as real_urls
from tests.admin import given


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the secret of the house")


urlpatterns = [path("admin/broken/", broken), path("api/v1/broken", broken), *real_urls]
__all__ = ["handler400", "handler403", "handler404", "handler500"]


@pytest.mark.django_db
def test_an_address_where_nothing_is_says_so() -> None:
    for url in ("/nothing", "/admin/inventory/nothing/"):
        client = Client()
        client.force_login(given.administrator(f"maria-{url.count('/')}"))
        response = client.get(url)
        assert response.status_code == 404
        assert "There is nothing at this address" in response.content.decode()


@pytest.mark.django_db
def test_what_may_not_be_seen_says_so() -> None:
    client = Client()
    client.force_login(given.person("somebody"))

    response = client.get("/admin/inventory/certificatejob/")

    assert response.status_code == 403
    assert "You may not do this" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.urls("tests.admin.test_errors")
def test_a_defect_shows_no_traceback() -> None:
    client = Client(raise_request_exception=False)

    page = client.get("/admin/broken/")
    answer = client.get("/api/v1/broken")

    assert (page.status_code, answer.status_code) == (500, 500)
    for response in (page, answer):
        assert "secret of the house" not in response.content.decode()
        assert "Traceback" not in response.content.decode()
    assert "Something went wrong on our side" in unescape(page.content.decode())
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
def test_a_host_that_is_not_ours_is_refused() -> None:
    response = Client().get("/admin/", headers={"host": "evil.example.net"})

    assert response.status_code == 400
    assert "could not be understood" in response.content.decode()


def test_liveness_asks_nobody_else() -> None:
    response = Client().get("/healthz")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.django_db
def test_readiness_asks_the_database() -> None:
    assert Client().get("/readyz").json() == {"status": "ok", "database": "reachable"}


@pytest.mark.django_db(transaction=True)
def test_a_process_without_its_database_is_not_ready() -> None:
    connection.close()
    settings_dict = connection.settings_dict
    host = settings_dict["HOST"]
    settings_dict["HOST"] = "/nowhere"
    try:
        response = doors.readyz(HttpRequest())
    finally:
        settings_dict["HOST"] = host
        connection.close()

    assert response.status_code == 503
    assert b"unreachable" in response.content


@pytest.mark.django_db
def test_the_root_leads_to_the_console() -> None:
    assert Client().get("/").headers["Location"] == "/admin/"


@pytest.mark.django_db
def test_the_sign_in_page_says_where_one_is() -> None:
    page = Client().get("/admin/login/").content.decode()

    assert "Certificate control plane" in page
    assert "No account, or locked out?" in page
