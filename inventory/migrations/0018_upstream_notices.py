"""Whoever changes who is relayed where, gateway nodes hear of it with the commit.

Triggers say so and not the code that changes something, because a charger moves between cohorts in many ways: by its
fields, its family, a membership, a filter. One charger is named; what may concern any is said without a name. Where no
upstream is for a cohort, what moves chargers between cohorts is nobody's business and costs one look.
"""

from django.db import migrations, models

FORWARD = """
CREATE FUNCTION inventory_upstream_notice(of_identity bigint) RETURNS void LANGUAGE sql AS
$$
    SELECT pg_notify('bfcerts_upstreams', coalesce(
        (SELECT authoritative_identifier FROM inventory_managedidentity WHERE id = of_identity), ''
    ))
$$;

CREATE FUNCTION inventory_upstream_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        IF OLD.enabled THEN
            PERFORM inventory_upstream_notice(OLD.identity_id);
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        IF NEW.enabled THEN
            PERFORM inventory_upstream_notice(NEW.identity_id);
        END IF;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION inventory_upstream_cohort_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inventory_upstream WHERE enabled AND cohort_id = NEW.id) THEN
        PERFORM pg_notify('bfcerts_upstreams', '');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION inventory_upstream_member_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    membership inventory_cohort_members := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    IF EXISTS (SELECT FROM inventory_upstream WHERE enabled AND cohort_id = membership.cohort_id) THEN
        PERFORM inventory_upstream_notice(membership.managedidentity_id);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION inventory_upstream_charger_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inventory_upstream WHERE enabled AND cohort_id IS NOT NULL) THEN
        PERFORM pg_notify('bfcerts_upstreams', NEW.authoritative_identifier);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION inventory_upstream_family_renamed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM inventory_upstream WHERE enabled AND cohort_id IS NOT NULL) THEN
        PERFORM pg_notify('bfcerts_upstreams', '');
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER upstream_notice AFTER INSERT OR DELETE ON inventory_upstream
    FOR EACH ROW EXECUTE FUNCTION inventory_upstream_changed();
CREATE TRIGGER upstream_change_notice AFTER UPDATE ON inventory_upstream
    FOR EACH ROW WHEN (
        (OLD.name, OLD.url, OLD.cohort_id, OLD.identity_id, OLD.enabled, OLD.when_away, OLD.credential, OLD.ca_bundle)
        IS DISTINCT FROM
        (NEW.name, NEW.url, NEW.cohort_id, NEW.identity_id, NEW.enabled, NEW.when_away, NEW.credential, NEW.ca_bundle)
    ) EXECUTE FUNCTION inventory_upstream_changed();
CREATE TRIGGER upstream_notice AFTER UPDATE ON inventory_cohort
    FOR EACH ROW WHEN ((OLD.kind, OLD.filter) IS DISTINCT FROM (NEW.kind, NEW.filter))
    EXECUTE FUNCTION inventory_upstream_cohort_changed();
CREATE TRIGGER upstream_notice AFTER INSERT OR DELETE ON inventory_cohort_members
    FOR EACH ROW EXECUTE FUNCTION inventory_upstream_member_changed();
CREATE TRIGGER upstream_notice AFTER UPDATE ON inventory_managedidentity
    FOR EACH ROW WHEN (
        NEW.kind = 'charger' AND
        (OLD.family_id, OLD.site, OLD.region, OLD.owner, OLD.tags, OLD.program)
        IS DISTINCT FROM (NEW.family_id, NEW.site, NEW.region, NEW.owner, NEW.tags, NEW.program)
    ) EXECUTE FUNCTION inventory_upstream_charger_moved();
CREATE TRIGGER upstream_notice AFTER UPDATE ON inventory_chargerfamily
    FOR EACH ROW WHEN (OLD.name IS DISTINCT FROM NEW.name)
    EXECUTE FUNCTION inventory_upstream_family_renamed();
"""

BACKWARD = """
DROP TRIGGER upstream_notice ON inventory_chargerfamily;
DROP TRIGGER upstream_notice ON inventory_managedidentity;
DROP TRIGGER upstream_notice ON inventory_cohort_members;
DROP TRIGGER upstream_notice ON inventory_cohort;
DROP TRIGGER upstream_change_notice ON inventory_upstream;
DROP TRIGGER upstream_notice ON inventory_upstream;
DROP FUNCTION inventory_upstream_family_renamed();
DROP FUNCTION inventory_upstream_charger_moved();
DROP FUNCTION inventory_upstream_member_changed();
DROP FUNCTION inventory_upstream_cohort_changed();
DROP FUNCTION inventory_upstream_changed();
DROP FUNCTION inventory_upstream_notice(bigint);
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0017_untold_job_ends")]

    operations = [
        migrations.AddIndex(
            model_name="securityevent",
            index=models.Index(
                fields=["identity"],
                condition=models.Q(("type", "UpstreamCallRefused")),
                name="security_refused_upstream",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
