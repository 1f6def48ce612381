"""The page of an action: says what will happen, asks why, and does it once, by POST."""

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from bfcerts.console import navigation
from bfcerts.console.modeladmin import ConsoleAdmin
from bfcerts.console.navigation import Crumb
from bfcerts.console.presentation import link
from inventory.actors import Actor
from inventory.admin.stale import meanwhile
from inventory.admin.verbs import ActionForm, Order, Preview, Verb, Verbs
from inventory.errors import ChangedMeanwhileError, CsrRejectedError, InventoryError
from inventory.services import repeats, versions
from inventory.services.actions import AvailableAction
from inventory.services.repeats import Answer


def actor_of(request: HttpRequest) -> Actor:
    """The signed-in person."""
    return Actor.person(cast(User, request.user))


_JOB = re.compile(r"\b(Job|job) (\d{1,18})\b")


def with_links_to_jobs(sentence: str, request: HttpRequest) -> SafeString | str:
    """The sentence of an action, in which the jobs that it names lead to their pages."""
    if not request.user.has_perm("inventory.view_certificatejob"):
        return sentence
    parts: list[SafeString | str] = []
    end = 0
    for found in _JOB.finditer(sentence):
        page = reverse("admin:inventory_certificatejob_change", args=[found[2]])
        parts += [sentence[end : found.start()], link(page, found[0])]
        end = found.end()
    return format_html_join("", "{}", ((part,) for part in [*parts, sentence[end:]]))


def _order(request: HttpRequest, target: Any, form: ActionForm, key: str) -> Order:
    return Order(
        target=target,
        values={name: value for name, value in form.cleaned_data.items() if name != "reason"},
        actor=actor_of(request),
        reason=form.cleaned_data["reason"],
        key=f"person:{request.user.pk}:{key}",
        now=timezone.now(),
    )


_NOT_FILLED_IN = frozenset({"csrfmiddlewaretoken", "idempotency_key", "reason", "seen", "version"})


def _filled_in(request: HttpRequest) -> str:
    """Names exactly what was filled in, but for the reason: what was previewed is what is done."""
    typed = sorted((name, request.POST.getlist(name)) for name in request.POST if name not in _NOT_FILLED_IN)
    return repeats.digest_of(request.path.encode(), repr(typed).encode())


class ActionsMixin(ConsoleAdmin):
    """Gives a ModelAdmin one page for each verb of its objects, at `<id>/do/<verb>/`."""

    verbs: ClassVar[Verbs]
    version_fields: ClassVar[Sequence[str]] = ()
    """What of the object must not have changed since the page was opened; everything where nothing is named."""

    def available_actions(self, request: HttpRequest, target: Any) -> list[AvailableAction]:
        """What the services say about every verb for this person now."""
        raise NotImplementedError

    def described(self, target: Any) -> list[tuple[str, str]]:
        """Whom an action will concern, as pairs of name and value."""
        raise NotImplementedError

    def described_for(self, target: Any, verb: str) -> list[tuple[str, str]]:
        """The same, with what matters for one verb alone."""
        return self.described(target)

    def page_after(self, target: Any) -> str:
        """Where an operator goes when an action is done."""
        return reverse(f"admin:{self._route}_change", args=[target.pk])

    def get_urls(self) -> list[URLPattern]:
        route = path(
            "<path:object_id>/do/<slug:name>/",
            self.admin_site.admin_view(self.action_view),
            name=f"{self._route}_do",
        )
        return [route, *super().get_urls()]

    @property
    def _route(self) -> str:
        options = self.opts
        return f"{options.app_label}_{options.model_name}"

    def offered(self, request: HttpRequest, target: Any) -> list[dict[str, Any]]:
        """The actions of an object, each with its address, for the object's page."""
        return [
            {
                "action": action,
                "verb": verb,
                "url": reverse(f"admin:{self._route}_do", args=[target.pk, action.verb]),
            }
            for action in self.available_actions(request, target)
            if (verb := self.verbs.get(action.verb)) is not None
        ]

    def action_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Ask (GET) and do (POST)."""
        target = self.get_object(request, object_id)
        verb = self.verbs.get(name)
        if target is None or verb is None:
            raise Http404
        if not self.has_view_permission(request, target):
            raise PermissionDenied
        action = next((item for item in self.available_actions(request, target) if item.verb == name), None)
        if action is None:
            raise Http404
        if request.method != "POST":
            return self._ask(request, target, verb, action, verb.form(target=target), uuid.uuid4().hex)
        form = verb.form(request.POST, target=target)
        key = request.POST.get("idempotency_key", "")[:100]
        if not form.is_valid() or not key:
            return self._ask(request, target, verb, action, form, key or uuid.uuid4().hex, HTTPStatus.BAD_REQUEST)
        order = _order(request, target, form, key)
        look = verb.preview
        # Whoever may not do it is not shown whom it would reach: the service refuses it.
        if look is not None and action.allowed and request.POST.get("seen", "") != _filled_in(request):
            return self._preview(request, look, verb, action, form, order)
        return self._do(request, verb, action, form, order)

    def _preview(
        self,
        request: HttpRequest,
        look: Callable[[Order], Preview],
        verb: Verb,
        action: AvailableAction,
        form: ActionForm,
        order: Order,
    ) -> HttpResponse:
        """The page again, with what the action would do as it was filled in."""
        key = uuid.uuid4().hex
        try:
            seen = look(order)
        except InventoryError as error:
            form.add_error(None, str(error))
            return self._ask(request, order.target, verb, action, form, key, HTTPStatus(error.status))
        return self._ask(request, order.target, verb, action, form, key, preview=seen)

    def _do(
        self, request: HttpRequest, verb: Verb, action: AvailableAction, form: ActionForm, order: Order
    ) -> HttpResponse:
        target, key = order.target, request.POST.get("idempotency_key", "")[:100]
        refusals: list[InventoryError] = []

        def work() -> Answer:
            # Caught inside the transaction, so that what a refusal leaves in the logs is kept.
            try:
                versions.lock(target, {request.POST.get("version", "")}, self.version_fields)
                return Answer(HTTPStatus.OK, verb.carry_out(order))
            except InventoryError as error:
                refusals.append(error)
                return Answer(error.status, str(error))

        typed = sorted((name, value) for name, value in request.POST.items() if name != "csrfmiddlewaretoken")
        digest = repeats.digest_of(request.path.encode(), repr(typed).encode())
        try:
            answer, earlier = repeats.once(
                user=cast(User, request.user), key=f"admin:{key}", digest=digest, now=order.now, work=work
            )
        except InventoryError as error:
            refusals.append(error)
        if refusals:
            return self._refuse(request, target, verb, action, form, refusals[0])
        sentence = f"This was already done: {answer.body}" if earlier else str(answer.body)
        messages.success(request, with_links_to_jobs(sentence, request))
        return HttpResponseRedirect(self.page_after(target))

    def _refuse(
        self,
        request: HttpRequest,
        target: Any,
        verb: Verb,
        action: AvailableAction,
        form: ActionForm,
        refusal: InventoryError,
    ) -> TemplateResponse:
        """The page again, as things are now, with what was typed and the sentence where it belongs."""
        place = "csr_pem" if isinstance(refusal, CsrRejectedError) and "csr_pem" in form.fields else None
        form.add_error(place, str(refusal))
        target.refresh_from_db()
        offered = self.available_actions(request, target)
        action = next((item for item in offered if item.verb == verb.name), replace(action, allowed=False))
        changed = isinstance(refusal, ChangedMeanwhileError)
        status = HTTPStatus(refusal.status)
        return self._ask(request, target, verb, action, form, uuid.uuid4().hex, status, changed=changed)

    def _ask(
        self,
        request: HttpRequest,
        target: Any,
        verb: Verb,
        action: AvailableAction,
        form: ActionForm,
        key: str,
        status: int = HTTPStatus.OK,
        *,
        changed: bool = False,
        preview: Preview | None = None,
    ) -> TemplateResponse:
        model: type[Model] = type(target)
        page = reverse(f"admin:{self._route}_change", args=[target.pk])
        context = {
            **self.admin_site.each_context(request),
            "title": action.label,
            "crumbs": navigation.crumbs(model, Crumb(self.crumb_title(target), page), Crumb(action.label)),
            "target": target,
            "target_title": self.crumb_title(target),
            "verb": verb,
            "action": action,
            "described": self.described_for(target, verb.name),
            "form": form,
            "idempotency_key": key,
            "preview": preview,
            "seen": _filled_in(request) if preview is not None and not preview.obstacle else "",
            "looks_first": verb.preview is not None and (preview is None or bool(preview.obstacle)),
            "version": versions.version_of(target, self.version_fields),
            "changed": changed,
            "meanwhile": meanwhile(target) if changed else None,
            "page": page,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/console/action.html", context, status=status)


class PageWithActions(ActionsMixin):
    """Shows what can be done with an object beside its facts, on Django's own page of it."""

    def beside(self, request: HttpRequest, target: Any) -> dict[str, Any]:
        """What else the page shows of an object."""
        return {}

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        target = self.get_object(request, object_id) if object_id else None
        context: dict[str, Any] = {}
        if target is not None:
            context = {"actions": self.offered(request, target), **self.beside(request, target)}
        response: HttpResponse = super().changeform_view(request, object_id, form_url, context | (extra_context or {}))
        return response
