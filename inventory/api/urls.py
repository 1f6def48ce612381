"""Where the API answers, under /api/v1."""

from django.contrib.auth.decorators import login_required
from django.urls import path
from drf_spectacular.views import SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from inventory.api.description import DescriptionView
from inventory.api.views import certificates, fleet, logs, plans, setbacks, tokens, upstreams

router = SimpleRouter(trailing_slash=False)
router.register("auth/tokens", tokens.TokenViewSet, basename="tokens")
router.register("identities", fleet.IdentityViewSet, basename="identities")
router.register("charger-families", plans.FamilyWithCapabilitiesViewSet, basename="charger-families")
router.register("cohorts", fleet.CohortViewSet, basename="cohorts")
router.register("certificate-records", certificates.RecordViewSet, basename="certificate-records")
router.register("certificate-jobs", certificates.JobViewSet, basename="certificate-jobs")
router.register("lifecycle-policies", fleet.PolicyViewSet, basename="lifecycle-policies")
router.register("issuing-authorities", fleet.AuthorityViewSet, basename="issuing-authorities")
router.register("plans", plans.PlanViewSet, basename="plans")
router.register("plan-targets", plans.TargetViewSet, basename="plan-targets")
router.register("upstreams", upstreams.UpstreamViewSet, basename="upstreams")
router.register("setbacks", setbacks.SetbackViewSet, basename="setbacks")
router.register("evidence", certificates.EvidenceViewSet, basename="evidence")
router.register("domain-events", logs.DomainEventViewSet, basename="domain-events")
router.register("security-events", logs.SecurityEventViewSet, basename="security-events")
router.register("station-logs", logs.StationLogViewSet, basename="station-logs")
router.register("artifacts", logs.ArtifactViewSet, basename="artifacts")
router.register("station-sessions", logs.SessionViewSet, basename="station-sessions")
router.register("station-commands", logs.CommandViewSet, basename="station-commands")
router.register("station-questions", logs.QuestionViewSet, basename="station-questions")

urlpatterns = [
    path("schema", DescriptionView.as_view(), name="schema"),
    path("docs", login_required(SpectacularSwaggerView.as_view(url_name="api:schema")), name="docs"),
    *router.urls,
]
